"""Bytes of a training step on each data-parallel device with ZeRO's stages.

ZeRO, Rajbhandari et al. 2020, arXiv:1910.02054, section 5: optimizer states (the master weights are one of them), then
gradients, then weights are split. As in its formulas, parts are even, without the padding of an implementation.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Literal, get_args

from archcalc.analysis.training import PARTS, Part, Totals
from archcalc.errors import InputError, nearest, shown
from archcalc.words import msg

Stage = Literal["none", "os", "os+g", "os+g+p"]
STAGES: tuple[Stage, ...] = get_args(Stage)

SPLIT: dict[Stage, tuple[Part, ...]] = {
    "none": (),
    "os": ("master", "optimiser"),
    "os+g": ("gradients", "master", "optimiser"),
    "os+g+p": PARTS,
}


def device_bytes(whole: Totals, stage: Stage, degree: int) -> Fraction:
    """Return the bytes of a training step on each of `degree` devices.

    >>> device_bytes(Totals(weights=15, gradients=15, master=30, optimiser=60), "os", 64) * 64
    Fraction(2010, 1)
    """
    split: int = sum(getattr(whole, part) for part in SPLIT[stage])
    return whole.total - split + Fraction(split, degree)


def stage_of(name: str) -> Stage:
    """Return the stage of this name. Raises InputError, with the nearest name, if there is none."""
    for stage in STAGES:
        if stage == name:
            return stage
    raise InputError(
        msg("there is no stage {name}{hint}", name=shown(name), hint=nearest(name, STAGES)), allowed=", ".join(STAGES)
    )
