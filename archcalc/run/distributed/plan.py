"""Tensor parallelism as data: which axis of which matrix is split, and what one rank of a spec computes.

Heads, feed-forward widths and the vocabulary are split (Shoeybi et al. 2019, section 3); the rest is on every rank.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import structs
from torch import nn

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
from archcalc.spec.variants import VARIANTS, implementation, implementations, variant
from archcalc.words import msg

_WIDE = {f"{name}.{kind}" for name in ("gate", "up") for kind in ("weight", "bias")}

_SHARING = [record for record in VARIANTS.values() if record.query_module is not None]

# The axis along which a tensor of a module is split; a module's other tensors are whole on every rank.
SPLIT: dict[type[nn.Module], Mapping[str, int]] = {
    **{
        module: record.split
        for module, record in zip(implementations("module"), VARIANTS.values(), strict=True)
        if record.split
    },
    **{module: record.split for module, record in zip(implementations("query_module"), _SHARING, strict=True)},
    Experts: dict.fromkeys(_WIDE, 1) | {"down.weight": 2},
    Head: {"weight": 0, "bias": 0},
    Embedding: {"tokens.weight": 0},
    RelativeBias: {"weight": 1},
}
# Norms that have a weight of their own for every head.
_EACH = {f"{name}_norm.{kind}": 0 for name in "qk" for kind in ("weight", "bias")}
# What is added to a sum over ranks: on the first of them alone.
ONCE = ("out.bias", "down.bias")
# Tensors of the heads of keys and values: whole on every rank where there are more ranks than such heads.
KV = ("k.weight", "k.bias", "v.weight", "v.bias", "k_norm.weight", "k_norm.bias")


def split_of(part: nn.Module) -> dict[str, int]:
    """The axis along which each of a part's split tensors is split."""
    normed = part.part.qk_norm if isinstance(part, Attention) else None
    return dict(SPLIT[type(part)]) | (_EACH if normed is not None and normed.over == "each" else {})


def rows_of_head(part: Attention, path: str) -> int:
    """How many rows of a tensor in `KV` belong to one head."""
    return {"k": part.d_head, "v": part.d_value, "k_norm": 1}[path.partition(".")[0]]


def check(found: Spec, n: int) -> None:
    """Raise InputError if `n` ranks cannot share the heads of a spec."""
    for each in found.stacks:
        for layer in layers_of(each.stack):
            for arm in arms(layer):
                part_of_rank(arm.part, n)


def of_rank(found: Spec, n: int) -> Spec:
    """The spec with the heads that one of `n` ranks has: what its caches are made by."""
    return structs.replace(found, **{each.role: _stack(each.stack, n) for each in found.stacks})


def part_of_rank(part: Any, n: int) -> Any:
    """The part of one of `n` ranks: with its share of the heads, where it has any. InputError if they cannot share."""
    share = implementation(part, "rank")
    if share is None and variant(part).mixes_tokens and n > 1:
        raise InputError(msg("its layers hold a part that ranks cannot share"), where="tp", allowed=msg("`fsdp`"))
    return part if share is None else share(part, n)


def attention_of_rank(part: spec.Attention, n: int) -> spec.Attention:
    """An attention with the heads that one of `n` ranks has; a key's head is on several where there are fewer."""
    n_kv_heads = part.n_kv_heads or part.n_heads
    _check_heads(part.n_heads, n)
    if n_kv_heads % n and n % n_kv_heads:
        raise _refused(n, f"its {n_kv_heads} heads of keys and values, nor be a multiple of them", n_kv_heads)
    if part.out_norm or (part.qk_norm and part.qk_norm.over == "full"):
        what = "what heads give is" if part.out_norm else "queries and keys are"
        raise InputError(
            msg("{what} normed over all heads, which no rank has", what=what), where="tp", allowed=msg("`fsdp`")
        )
    return structs.replace(part, n_heads=part.n_heads // n, n_kv_heads=max(1, n_kv_heads // n))


def latent_of_rank(part: spec.LatentAttention, n: int) -> spec.LatentAttention:
    """A latent attention with the heads that one of `n` ranks has."""
    _check_heads(part.n_heads, n)
    return structs.replace(part, n_heads=part.n_heads // n)


def dense_of_rank(part: ffn.Plain | ffn.Gated, n: int) -> ffn.Plain | ffn.Gated:
    """The same feed-forward: its width is split tensor by tensor."""
    if part.down_norm and n > 1:
        raise InputError(
            msg("hidden units are normed over their whole width, which no rank has"), where="tp", allowed=msg("`fsdp`")
        )
    return part


def _check_heads(n_heads: int, n: int) -> None:
    if n_heads % n:
        raise _refused(n, f"its {n_heads} heads", n_heads)


def _refused(n: int, of: str, size: int) -> InputError:
    divisors = ", ".join(str(d) for d in range(1, size + 1) if size % d == 0)
    return InputError(msg("found {n}, which does not divide {of}", n=n, of=of), where="tp", allowed=divisors)


def _stack(stack: Stack, n: int) -> Stack:
    used = set(layers_of(stack))  # a pattern longer than its run has layers that no turn takes
    runs = (
        structs.replace(run, pattern=tuple(_layer(layer, n) if layer in used else layer for layer in run.pattern))
        for run in stack.runs
    )
    return structs.replace(stack, runs=tuple(runs))


def _layer(layer: Layer, n: int) -> Layer:
    return with_parts(layer, lambda part: part_of_rank(part, n))
