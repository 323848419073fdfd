"""The softmax of one attention query, stage by stage: from dot products to attention weights.

Axes: N heads, T query tokens, S key tokens, H head width, K kv heads.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from archcalc.errors import InputError, shown
from archcalc.interp.learned_keys import learned_pairs
from archcalc.interp.trace.expression import Value, nodes
from archcalc.interp.trace.run import Trace
from archcalc.interp.trace.step import Step
from archcalc.nn.arm_cache import Pair
from archcalc.nn.attention import Attention
from archcalc.nn.attention_context import AttentionContext
from archcalc.nn.routed_attention import RoutedAttention
from archcalc.nn.softmax import SoftmaxConfig, softcap
from archcalc.nn.sparse_attention import SparseAttention
from archcalc.nn.stack import Layers
from archcalc.words import msg

Name = Literal["dots", "scaled", "capped", "biased", "masked", "shifted", "exps", "sum", "shares"]


@dataclass(frozen=True)
class SoftmaxStage:
    """One stage: its expression over x, the stage before, and a value for each key, −∞ where masked.

    The stage `sum` has one value. `sink` is the value of the attention sink, a score without a key; None without one.
    """

    name: Name
    expression: str
    values: tuple[float, ...]
    sink: float | None = None


@dataclass(frozen=True)
class SoftmaxRow:
    """The attention weights of one query, stage by stage. `hidden`: whether the mask hides each key from this query."""

    part: str
    head: int
    query: int
    hidden: tuple[bool, ...]
    stages: tuple[SoftmaxStage, ...]


def attentions(trace: Trace) -> tuple[str, ...]:
    """Return the names of the attentions of a trace: `layers.0.attn`, `decoder.layers.3.cross` …"""
    return tuple(traced.step.name.removesuffix(".pattern") for traced in trace.steps if traced.step.kind == "pattern")


@torch.no_grad()
def softmax_of(model: Any, trace: Trace, part: str, *, head: int = 0, query: int | None = None) -> SoftmaxRow:
    """Return the softmax of one query in one head of an attention, stage by stage (Vaswani et al. 2017, eq. 1).

    The largest score is subtracted first. Scores and attention weights are those that the trace recorded. Earlier
    stages are computed from the recorded queries and keys, the stages between from the scores. Each stage has a value
    for each key. `query` is a position (default: that of the trace, or the last one of a shorter text); the rows of a
    soft prompt count, and are first.

    Raises InputError for an unknown part, and for a head or a position out of range.
    """
    query = _query_position(trace, part, head, query)
    stack, block, arm = _locate(model, part)
    context, scores_S = _attention_context(stack, trace, part), trace[f"{part}.scores"][head, query]
    module = block.part_module(arm)
    in_scale = next(each.in_scale for each in block.arms if each.name == arm)
    learned = learned_pairs(model).get(part)
    sink = _sink(trace, module, part, in_scale, head, query)
    stages = [
        *_score_stages(trace, module, context, part, _key_owner(stack, part), head, query, in_scale, learned),
        _stage("masked", "masked(x)", scores_S, sink),
        *_weight_stages(scores_S.float(), sink, trace[f"{part}.pattern"][head, query]),
    ]
    hidden = scores_S.isneginf().tolist()
    return SoftmaxRow(part, head, query, tuple(hidden), tuple(stages))


def _sink(trace: Trace, module: Any, part: str, in_scale: float, head: int, query: int) -> float | None:
    """Return the sink of a query, learned or computed from its states; None without one."""
    if isinstance(module, Attention) and module.sink is not None:
        return float(module.sink(_read_states(trace, module, part, in_scale))[0, query, head])
    sinks_N = getattr(module, "sinks", None)
    return None if sinks_N is None else float(sinks_N[head])


def _score_stages(
    trace: Trace,
    module: Any,
    context: AttentionContext,
    part: str,
    owner: str,
    head: int,
    query: int,
    in_scale: float,
    learned: Pair | None,
) -> Iterator[SoftmaxStage]:
    """Yield the stages from dot products to scores before the mask, in the model's order."""
    config: SoftmaxConfig = module.softmax
    q_NTH, k_KSH = trace[f"{part}.q"], trace[f"{owner}.k"]
    if learned is not None:
        k_KSH = torch.cat((learned[0].cpu(), k_KSH), 1)
    if isinstance(module, SparseAttention):
        x_S = module.dots(_read_states(trace, module, part, in_scale), context)[0, head, query].cpu()
    else:
        n_kv_heads, is_routed = k_KSH.shape[0], isinstance(module, RoutedAttention)
        kv_head = head % n_kv_heads if is_routed else head * n_kv_heads // config.n_heads
        x_S = k_KSH[kv_head] @ q_NTH[head, query]
    yield _stage("dots", "dot(q, k)", x_S)
    x_S = x_S * config.scale
    yield _stage("scaled", f"x · {config.scale:.7g}", x_S)
    if config.softcap is not None:
        x_S = softcap(x_S, config.softcap)
        yield _stage("capped", f"capped(x, {config.softcap:g})", x_S)
    bias_NTS = config.bias(context, config.n_heads) if config.bias else None
    if bias_NTS is not None:
        x_S = x_S + bias_NTS[head, query].cpu().to(x_S.dtype)
        yield _stage("biased", "x + bias", x_S)
    if not isinstance(module, Attention):
        return
    heads, x_BTD = (q_NTH, k_KSH, trace[f"{owner}.v"]), _read_states(trace, module, part, in_scale)
    for bias_BNTS in _terms(module, context, heads, x_BTD):
        x_S = x_S + bias_BNTS.expand(-1, -1, len(q_NTH[0]), -1)[0, head, query].cpu().to(x_S.dtype)
        yield _stage("biased", "x + bias", x_S)


def _read_states(trace: Trace, module: Any, part: str, in_scale: float) -> Tensor:
    """Return the states [1, T, D] that queries are projected from."""
    states = next(node.name for node in nodes(_step(trace, f"{part}.q").expression) if isinstance(node, Value))
    return trace[states].unsqueeze(0).to(module.out.weight.device) * in_scale


def _terms(
    module: Attention, context: AttentionContext, heads: tuple[Tensor, Tensor, Tensor], x_BTD: Tensor
) -> Iterator[Tensor]:
    """Yield what else is added to the scores of queries, keys and values, [B, N, T, S] or broadcast to it."""
    q_BNTH, k_BKSH, v_BKSU = (x.unsqueeze(0).to(x_BTD.device) for x in heads)
    for term in module.terms(x_BTD, v_BKSU, context):
        if (found := term.scores(q_BNTH, k_BKSH, context, module.softmax.scale)) is not None:
            yield found


def _weight_stages(x_S: Tensor, sink: float | None, pattern_S: Tensor) -> Iterator[SoftmaxStage]:
    """Yield the stages from scores to attention weights; a sink counts in the maximum and in the sum."""
    with_sink = x_S if sink is None else torch.cat((x_S, x_S.new_tensor([sink])))
    shifted = with_sink - with_sink.max()
    exps = shifted.exp()
    rows: tuple[tuple[Name, str, Tensor], ...] = (("shifted", "x − max x", shifted), ("exps", "eˣ", exps))
    for name, expression, row in rows:
        yield _stage(name, expression, row[: len(x_S)], None if sink is None else float(row[-1]))
    yield _stage("sum", "Σ eˣ", exps.sum().unsqueeze(0))
    yield _stage("shares", "eˣ / Σ eˣ", pattern_S)


def _stage(name: Name, expression: str, values: Tensor, sink: float | None = None) -> SoftmaxStage:
    return SoftmaxStage(name, expression, tuple(values.float().tolist()), sink)


def _query_position(trace: Trace, part: str, head: int, query: int | None) -> int:
    """Return the position of the query. Raises InputError for an unknown part, or a head or a query out of range."""
    if part not in attentions(trace):
        raise InputError(
            msg("found {found}", found=shown(part)),
            where="part",
            allowed=", ".join(attentions(trace)) or msg("none: no attention"),
        )
    n_heads, n_positions, _ = trace[f"{part}.scores"].shape
    if not 0 <= head < n_heads:
        raise InputError(msg("found {found}", found=head), where="head", allowed=msg("0 to {last:,}", last=n_heads - 1))
    if query is None:
        query = next(traced for traced in trace.steps if traced.step.name == f"{part}.scores").row(trace.position)
    if not 0 <= query < n_positions:
        raise InputError(
            msg("found {found}", found=query),
            where="query",
            allowed=msg("0 to {last:,}", last=n_positions - 1),
        )
    return query


def _locate(model: Any, part: str) -> tuple[Layers, Any, str]:
    """Return the stack of a part, the block with its weights, and its name in the block."""
    prefix, _, path = part.rpartition("layers.")
    layer, _, arm = path.partition(".")
    stack = model.get_submodule(prefix.removesuffix("."))
    return stack, stack.layers[stack.owners[int(layer)]], arm


def _key_owner(stack: Layers, part: str) -> str:
    """Return the part that computes the keys of this one: itself, or a part of an earlier layer."""
    prefix, _, path = part.rpartition("layers.")
    layer, _, arm = path.partition(".")
    owner = stack.lenders[int(layer)] if arm in stack.key_readers[int(layer)] else layer
    return f"{prefix}layers.{owner}.{arm}"


def _step(trace: Trace, name: str) -> Step:
    return next(traced.step for traced in trace.steps if traced.step.name == name)


def _attention_context(stack: Layers, trace: Trace, part: str) -> AttentionContext:
    """Return the attention context of the part, the one that the model builds for a whole text."""
    _, n_queries, n_keys = trace[f"{part}.scores"].shape
    device = next(stack.parameters()).device
    positions_T = torch.arange(n_queries, device=device)
    pattern = _step(trace, f"{part}.pattern")
    is_cross = pattern.key_ids != f"{part.rpartition('layers.')[0]}ids"
    view = stack.layer_context(positions_T, torch.empty(1, n_keys, 0, device=device) if is_cross else None)
    return view.own if view.source is None else view.source
