"""One query's softmax taken apart: how each key's score comes about, and what share of attention it gets.

Axes: N heads, T query tokens, S key tokens, H head width, K kv heads.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from archcalc.errors import InputError, shown
from archcalc.interp.trace.run import Trace
from archcalc.nn.attention_context import AttentionContext
from archcalc.nn.softmax import SoftmaxConfig, softcap
from archcalc.nn.stack import Layers
from archcalc.words import msg

Name = Literal["dots", "scaled", "capped", "biased", "masked", "shifted", "exps", "sum", "shares"]


@dataclass(frozen=True)
class Stage:
    """One row of the softmax: its formula over the row before, x, and a value for each key (−∞ where hidden).

    `sink` is that of a score without a key which joins the softmax, None where there is none. Of the sum there is one
    value.
    """

    name: Name
    formula: str
    values: tuple[float, ...]
    sink: float | None = None


@dataclass(frozen=True)
class Softmaxed:
    """A row of a pattern, stage by stage. `hidden`: which keys the mask hides from this query."""

    part: str
    head: int
    query: int
    hidden: tuple[bool, ...]
    stages: tuple[Stage, ...]


def parts(trace: Trace) -> tuple[str, ...]:
    """Return the names of the attentions of a trace: `layers.0.attn`, `decoder.layers.3.cross` …"""
    return tuple(one.step.name.removesuffix(".pattern") for one in trace.steps if one.step.kind == "pattern")


@torch.no_grad()
def softmax_of(model: Any, trace: Trace, part: str, *, head: int = 0, query: int | None = None) -> Softmaxed:
    """Return the softmax of one query in one head of an attention, stage by stage (Vaswani et al. 2017, eq. 1).

    The largest score is subtracted first. Scores and shares are those that the trace recorded; stages before the scores
    are computed from the recorded queries and keys, stages between from the scores. Each stage has a value for each
    key. `query` is the place that the trace looks at if left out, or the last of a shorter text.

    Raises InputError for a part, a head or a place that is not there.
    """
    query = _checked(trace, part, head, query)
    stack, block, slot = _of(model, part)
    sight, scores_S = _sight(stack, trace, part), trace[f"{part}.scores"][head, query]
    module = getattr(block, slot)
    hidden_TS = sight.hidden_mask(module.softmax.window)
    sinks_N = getattr(module, "sinks", None)
    sink = None if sinks_N is None else float(sinks_N[head])
    stages = [
        *_scored(trace, module.softmax, sight, part, f"{_lender(stack, part)}.k", head, query),
        _stage("masked", "masked(x)", scores_S, sink),
        *_shared(scores_S.float(), sink, trace[f"{part}.pattern"][head, query]),
    ]
    hidden = [False] * len(scores_S) if hidden_TS is None else hidden_TS[query].tolist()
    return Softmaxed(part, head, query, tuple(hidden), tuple(stages))


def _scored(
    trace: Trace, how: SoftmaxConfig, sight: AttentionContext, part: str, keys: str, head: int, query: int
) -> Iterator[Stage]:
    """From products to scores that nothing is hidden from yet, in the order in which the model's own come about."""
    q_NTH, k_KSH = trace[f"{part}.q"], trace[keys]
    x_S = k_KSH[head * k_KSH.shape[0] // how.n_heads] @ q_NTH[head, query]
    yield _stage("dots", "dot(q, k)", x_S)
    x_S = x_S * how.scale
    yield _stage("scaled", f"x · {how.scale:.7g}", x_S)
    if how.softcap is not None:
        x_S = softcap(x_S, how.softcap)
        yield _stage("capped", f"capped(x, {how.softcap:g})", x_S)
    bias_NTS = how.bias(sight, how.n_heads) if how.bias else None
    if bias_NTS is not None:
        yield _stage("biased", "x + bias", x_S + bias_NTS[head, query].cpu().to(x_S.dtype))


def _shared(x_S: Tensor, sink: float | None, pattern_S: Tensor) -> Iterator[Stage]:
    """From scores to shares; a sink takes part in the largest and in the sum."""
    every = x_S if sink is None else torch.cat((x_S, x_S.new_tensor([sink])))
    shifted = every - every.max()
    exps = shifted.exp()
    rows: tuple[tuple[Name, str, Tensor], ...] = (("shifted", "x − max x", shifted), ("exps", "eˣ", exps))
    for name, formula, row in rows:
        yield _stage(name, formula, row[: len(x_S)], None if sink is None else float(row[-1]))
    yield _stage("sum", "Σ eˣ", exps.sum().unsqueeze(0))
    yield _stage("shares", "eˣ / Σ eˣ", pattern_S)


def _stage(name: Name, formula: str, values: Tensor, sink: float | None = None) -> Stage:
    return Stage(name, formula, tuple(values.float().tolist()), sink)


def _checked(trace: Trace, part: str, head: int, query: int | None) -> int:
    """The place of the query, once part, head and place are known to be there."""
    if part not in parts(trace):
        raise InputError(
            msg("found {part}", part=shown(part)), where="part", allowed=", ".join(parts(trace)) or "none: no attention"
        )
    n_heads, n_places, _ = trace[f"{part}.scores"].shape
    if not 0 <= head < n_heads:
        raise InputError(
            msg("found {head}", head=head), where="head", allowed=msg("0 to {n_heads}", n_heads=n_heads - 1)
        )
    query = min(trace.position, n_places - 1) if query is None else query
    if not 0 <= query < n_places:
        raise InputError(
            msg("found {query}", query=query), where="query", allowed=msg("0 to {n_places}", n_places=n_places - 1)
        )
    return query


def _of(model: Any, part: str) -> tuple[Layers, Any, str]:
    """The stack that a part stands in, the block that has its weights, and which part of it this is."""
    prefix, _, place = part.rpartition("layers.")
    turn, _, slot = place.partition(".")
    stack = model.get_submodule(prefix.removesuffix("."))
    return stack, stack.layers[stack.owners[int(turn)]], slot


def _lender(stack: Layers, part: str) -> str:
    """The part whose keys this one reads: itself, or that of an earlier layer."""
    before, _, place = part.rpartition("layers.")
    turn, _, arm = place.partition(".")
    lender = stack.lenders[int(turn)] if arm in stack.shared_arms[int(turn)] else turn
    return f"{before}layers.{lender}.{arm}"


def _sight(stack: Layers, trace: Trace, part: str) -> AttentionContext:
    """What the part's queries look at: the same that the model makes for a whole text."""
    _, n_queries, n_keys = trace[f"{part}.scores"].shape
    device = next(stack.parameters()).device
    places_T = torch.arange(n_queries, device=device)
    view = stack.layer_context(places_T, torch.empty(1, n_keys, 0, device=device) if part.endswith("cross") else None)
    return view.own if view.source is None else view.source
