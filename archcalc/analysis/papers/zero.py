"""Bytes of a training step on each data-parallel device with ZeRO's stages.

ZeRO, Rajbhandari et al. 2020, arXiv:1910.02054, section 5: optimizer states (the master weights are one of them), then
gradients, then weights are split. As in its formulas, parts are even, without the padding of an implementation.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Literal, get_args

from archcalc.analysis.training import PARTS, Part, PersistentBytes
from archcalc.errors import InputError, nearest, shown
from archcalc.words import msg

Stage = Literal["none", "os", "os+g", "os+g+p"]
STAGES: tuple[Stage, ...] = get_args(Stage)

SPLIT: dict[Stage, tuple[Part, ...]] = {
    "none": (),
    "os": ("master", "optimizer"),
    "os+g": ("gradients", "master", "optimizer"),
    "os+g+p": PARTS,
}


def device_bytes(total: PersistentBytes, stage: Stage, degree: int) -> Fraction:
    """Return the bytes of a training step on each of `degree` devices.

    >>> total = PersistentBytes(weights_bytes=15, gradients_bytes=15, master_bytes=30, optimizer_bytes=60)
    >>> device_bytes(total, "os", 64) * 64
    Fraction(2010, 1)
    """
    split = sum(total.of(part) for part in SPLIT[stage])
    return total.bytes - split + Fraction(split, degree)


def stage_of(name: str) -> Stage:
    """Return the stage of this name. Raises InputError, with the nearest name, if there is none."""
    for stage in STAGES:
        if stage == name:
            return stage
    raise InputError(
        msg("there is no stage {name}{hint}", name=shown(name), hint=nearest(name, STAGES)), allowed=", ".join(STAGES)
    )
