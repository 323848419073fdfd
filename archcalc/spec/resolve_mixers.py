"""Resolve mixers: fill in what is left out and refuse contradictions. One function for each variant."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from archcalc.errors import InputError
from archcalc.spec.base import Part
from archcalc.spec.mixer import GatedDelta
from archcalc.spec.model import Spec
from archcalc.words import msg

P = TypeVar("P", bound=Part)


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
    return msgspec.structs.replace(part, n_key_heads=n_key_heads, d_value=d_value)
