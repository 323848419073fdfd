"""Resolve mixers: fill in what is left out and refuse contradictions. One function for each variant."""

from __future__ import annotations

from typing import TypeVar

from msgspec import structs

from archcalc.spec.base import Part
from archcalc.spec.mixer import Mamba1
from archcalc.spec.model import Spec

P = TypeVar("P", bound=Part)


def mamba1(part: Mamba1, spec: Spec, where: str) -> Mamba1:
    """Return the mixer with d_inner and dt_rank."""
    d_inner, dt_rank = part.d_inner or 2 * spec.d_model, part.dt_rank or (spec.d_model + 15) // 16
    return structs.replace(part, d_inner=d_inner, dt_rank=dt_rank)


def unchanged(part: P, spec: Spec, where: str) -> P:
    """Return a mixer whose sizes are all stated."""
    return part
