"""Tensor parallelism as data: the axis along which each matrix is split, and the spec of one rank.

Heads, feed-forward widths and the vocabulary are split (Shoeybi et al. 2019, section 3); the rest is on every rank.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import structs
from torch import nn

from archcalc.analysis.shards import check_head, check_part
from archcalc.errors import InputError
from archcalc.nn.attention import Attention
from archcalc.nn.bias import RelativeBias
from archcalc.nn.embedding import Embedding
from archcalc.nn.head import Head
from archcalc.nn.moe import Experts
from archcalc.spec import Spec, ffn
from archcalc.spec import attention as spec
from archcalc.spec.branches import arms, with_parts
from archcalc.spec.groups import layers_of
from archcalc.spec.layer import Layer, Stack
from archcalc.spec.low_rank import low_rank
from archcalc.spec.variants import VARIANTS, implementation, implementations
from archcalc.words import msg

_UP_TENSORS = {f"{name}.{kind}" for name in ("gate", "up") for kind in ("weight", "bias")}

_QUERY_SHARING = [record for record in VARIANTS.values() if record.query_module is not None]

# The axis along which a tensor of a module is split; a module's other tensors are whole on every rank.
SPLIT_AXES: dict[type[nn.Module], Mapping[str, int]] = {
    **{
        module: record.split
        for module, record in zip(implementations("module"), VARIANTS.values(), strict=True)
        if record.split
    },
    **{module: record.split for module, record in zip(implementations("query_module"), _QUERY_SHARING, strict=True)},
    Experts: dict.fromkeys(_UP_TENSORS, 1) | {"down.weight": 2},
    Head: {"weight": 0, "bias": 0, "columns.weight": 0},
    Embedding: {"tokens.weight": 0},
    RelativeBias: {"weight": 1},
}
# Query and key norms with separate weights for every head.
_HEAD_NORM_AXES = {f"{name}_norm.{kind}": 0 for name in "qk" for kind in ("weight", "bias")}
# Biases added to a sum over ranks: the first rank alone adds them.
ADDED_ONCE = ("out.bias", "down.bias", "out_bias")
# Tensors of key and value heads: whole on every rank if there are more ranks than such heads.
KV_TENSORS = ("k.weight", "k.bias", "v.weight", "v.bias", "k_norm.weight", "k_norm.bias")


def split_axes(part: nn.Module) -> dict[str, int]:
    """Return the axis along which each split tensor of a part is split."""
    qk_norm = part.part.qk_norm if isinstance(part, Attention) else None
    return dict(SPLIT_AXES[type(part)]) | (_HEAD_NORM_AXES if qk_norm is not None and qk_norm.over == "each" else {})


def rows_per_head(part: Attention, path: str) -> int:
    """Return the number of rows of a tensor in `KV_TENSORS` that belong to one head."""
    return {"k": part.d_head, "v": part.d_value, "k_norm": 1}[path.partition(".")[0]]


def check(model_spec: Spec, n: int) -> None:
    """Raise InputError if `n` ranks cannot share the heads of a spec."""
    if n > 1:
        check_head(model_spec)
    for each in model_spec.stacks:
        for layer in layers_of(each.stack):
            for arm in arms(layer):
                part_of_rank(arm.part, n)


def spec_of_rank(model_spec: Spec, n: int) -> Spec:
    """Return the spec with the heads of one of `n` ranks, from which its caches are made."""
    return structs.replace(model_spec, **{each.role: _stack(each.stack, n) for each in model_spec.stacks})


def part_of_rank(part: Any, n: int) -> Any:
    """Return the part with one rank's share of the heads. Raise InputError if `n` ranks cannot share it."""
    if n > 1:
        check_part(part)
    share = implementation(part, "rank")
    return part if share is None else share(part, n)


def attention_of_rank(part: spec.Attention, n: int) -> spec.Attention:
    """Return an attention with one rank's heads; with fewer key heads than ranks, several ranks hold the same one."""
    n_kv_heads = part.n_kv_heads or part.n_heads
    _check_heads(part.n_heads, n)
    _check_pairs(part, n)
    if n_kv_heads % n and n % n_kv_heads:
        raise _indivisible(n, f"its {n_kv_heads} heads of keys and values, nor be a multiple of them", n_kv_heads)
    if part.out_norm or (part.qk_norm and part.qk_norm.over == "full"):
        what = "what heads give is" if part.out_norm else "queries and keys are"
        raise InputError(
            msg("{what} normed over all heads, which no rank has", what=what), where="tp", allowed=msg("`fsdp`")
        )
    return structs.replace(part, n_heads=part.n_heads // n, n_kv_heads=max(1, n_kv_heads // n))


def latent_of_rank(part: spec.LatentAttention, n: int) -> spec.LatentAttention:
    """Return a latent attention with one rank's heads."""
    _check_heads(part.n_heads, n)
    return structs.replace(part, n_heads=part.n_heads // n)


def dense_of_rank(part: ffn.Plain | ffn.Gated, n: int) -> ffn.Plain | ffn.Gated:
    """Return the feed-forward unchanged: its width is split tensor by tensor."""
    _check_pairs(part, n)
    if (part.down_norm or getattr(part, "sparsity", None)) and n > 1:
        raise InputError(
            msg("hidden units are normed over their whole width, which no rank has"), where="tp", allowed=msg("`fsdp`")
        )
    return part


def _check_pairs(part: object, n: int) -> None:
    if low_rank(part) is not None and n > 1:
        raise InputError(msg("low-rank pairs are not split"), where="tp", allowed=msg("`fsdp`"))


def _check_heads(n_heads: int, n: int) -> None:
    if n_heads % n:
        raise _indivisible(n, f"its {n_heads} heads", n_heads)


def _indivisible(n: int, of: str, size: int) -> InputError:
    divisors = ", ".join(str(d) for d in range(1, size + 1) if size % d == 0)
    return InputError(msg("found {n}, which does not divide {of}", n=n, of=of), where="tp", allowed=divisors)


def _stack(stack: Stack, n: int) -> Stack:
    used = set(layers_of(stack))  # a pattern longer than its run has unused layers
    runs = (
        structs.replace(run, pattern=tuple(_layer(layer, n) if layer in used else layer for layer in run.pattern))
        for run in stack.runs
    )
    return structs.replace(stack, runs=tuple(runs))


def _layer(layer: Layer, n: int) -> Layer:
    return with_parts(layer, lambda part: part_of_rank(part, n))
