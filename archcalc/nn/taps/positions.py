"""Which tokens an edit is about, by where they stand in their texts.

Axes: B batch, T tokens.
"""

from __future__ import annotations

from collections.abc import Collection
from operator import index
from typing import SupportsIndex

import torch
from torch import Tensor

from archcalc.errors import InputError, shown
from archcalc.words import msg

At = int | slice | Collection[int] | None
Places = tuple[int, ...] | slice


def checked(at: At, where: str) -> Places | None:
    """Positions as numbers or a slice, None for all. Raises InputError for what is neither, or below 0."""
    if at is None:
        return None
    try:
        if not isinstance(at, slice):
            return tuple(map(_number, at if isinstance(at, Collection) else (at,)))
        start, stop, step = (part if part is None else _number(part) for part in (at.start, at.stop, at.step))
        if step == 0:
            raise ValueError
        return slice(start, stop, step)
    except (TypeError, ValueError):
        allowed = "places in the text from 0 on: a number, several, a slice, or None for all"
        raise InputError(msg("found {at}", at=shown(at)), where=where, allowed=allowed) from None


def _number(found: SupportsIndex) -> int:
    number = index(found)
    if number < 0:
        raise ValueError
    return number


def among(at: Places, standing: Tensor) -> Tensor:
    """True where a token stands at one of these positions; `standing` is −1 where there is none."""
    if isinstance(at, tuple):
        return (standing.unsqueeze(-1) == torch.tensor(at, device=standing.device)).any(-1)
    start, step = at.start or 0, at.step or 1
    found = (standing >= start) & ((standing - start) % step == 0)
    return found if at.stop is None else found & (standing < at.stop)
