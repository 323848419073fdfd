"""Resolve mixers: fill in what is left out and refuse contradictions. One function for each variant."""

from __future__ import annotations

from typing import TypeVar

from msgspec import structs

from archcalc.errors import InputError
from archcalc.spec.base import Part
from archcalc.spec.mixer import GatedDelta, Lightning, Mamba1, Mamba2, MLstm, Multipliers, RgLru, SpanConv, TimeMix
from archcalc.spec.model import Spec
from archcalc.spec.resolve_parts import head_width
from archcalc.words import msg

P = TypeVar("P", bound=Part)


def mamba1(part: Mamba1, spec: Spec, where: str) -> Mamba1:
    """Return the mixer with d_inner, dt_rank, and d_head if its channels are in heads."""
    d_inner, dt_rank = part.d_inner or 2 * spec.d_model, part.dt_rank or (spec.d_model + 15) // 16
    if part.n_heads is None:
        if part.d_head is not None:
            raise InputError(msg("there are no heads"), where=f"{where}.d_head", allowed=msg("no value, or n_heads"))
        return structs.replace(part, d_inner=d_inner, dt_rank=dt_rank)
    if part.d_inner is None and part.d_head is not None:
        d_inner = part.n_heads * part.d_head
    if d_inner % part.n_heads or part.d_head not in (None, d_inner // part.n_heads):
        raise InputError(
            msg("{d_inner} channels are not {n} equal heads of d_head", d_inner=d_inner, n=part.n_heads),
            where=f"{where}.n_heads",
            allowed=msg("n_heads · d_head = d_inner"),
        )
    return structs.replace(part, d_inner=d_inner, dt_rank=dt_rank, d_head=d_inner // part.n_heads)


def lightning(part: Lightning, spec: Spec, where: str) -> Lightning:
    """Return the mixer with d_head."""
    return structs.replace(part, d_head=head_width(part.d_head, part.n_heads, spec, where))


def mlstm(part: MLstm, spec: Spec, where: str) -> MLstm:
    """Return the mixer with d_value."""
    return structs.replace(part, d_value=part.d_value or part.d_key)


def rg_lru(part: RgLru, spec: Spec, where: str) -> RgLru:
    """Return the mixer with d_block."""
    if part.d_block is None and spec.d_model % part.n_blocks:
        raise InputError(
            msg(
                "left out, and d_model {d_model} is not divisible by n_blocks {n_blocks}",
                d_model=spec.d_model,
                n_blocks=part.n_blocks,
            ),
            where=f"{where}.d_block",
            allowed=msg("d_block stated, or an n_blocks that divides d_model"),
        )
    return structs.replace(part, d_block=part.d_block or spec.d_model // part.n_blocks)


def time_mix(part: TimeMix, spec: Spec, where: str) -> TimeMix:
    """Return the mixer with d_inner."""
    return structs.replace(part, d_inner=part.d_inner or spec.d_model)


def span_conv(part: SpanConv, spec: Spec, where: str) -> SpanConv:
    """Return the convolution. Raises InputError for an even number of tokens, of which none is in the middle."""
    if part.d_conv % 2 == 0:
        raise InputError(msg("found {found}", found=part.d_conv), where=f"{where}.d_conv", allowed=msg("an odd number"))
    return part


def unchanged(part: P, spec: Spec, where: str) -> P:
    """Return a mixer whose sizes are all stated."""
    return part


def gated_delta(part: GatedDelta, spec: Spec, where: str) -> GatedDelta:
    """Fill in the number of key heads and the width of values. Each key head serves equally many heads."""
    n_key_heads = part.n_heads if part.n_key_heads is None else part.n_key_heads
    if part.n_heads % n_key_heads:
        raise InputError(
            msg("{n} key heads", n=n_key_heads),
            where=f"{where}.n_key_heads",
            allowed=msg("a divisor of n_heads = {n}", n=part.n_heads),
        )
    d_value = part.d_key if part.d_value is None else part.d_value
    return structs.replace(part, n_key_heads=n_key_heads, d_value=d_value)


def mamba2(part: Mamba2, spec: Spec, where: str) -> Mamba2:
    """Return the mixer with the bias of out. Each group serves equally many heads; the steps have bounds in order."""
    if part.n_heads % part.n_state_groups:
        raise InputError(
            msg("{n} groups", n=part.n_state_groups),
            where=f"{where}.n_state_groups",
            allowed=msg("a divisor of n_heads = {n}", n=part.n_heads),
        )
    if part.step_min is not None and part.step_max is not None and part.step_min > part.step_max:
        raise InputError(msg("smaller than step_min"), where=f"{where}.step_max", allowed=msg("step_min or more"))
    if part.norm is None and part.norm_when != "after":
        raise InputError(msg("there is no norm"), where=f"{where}.norm_when", allowed="after")
    return structs.replace(
        part,
        out_bias=part.bias if part.out_bias is None else part.out_bias,
        multipliers=None if part.multipliers == Multipliers() else part.multipliers,
    )
