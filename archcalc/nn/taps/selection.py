"""Token positions that an edit selects.

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

Positions = int | slice | Collection[int] | None
Selection = tuple[int, ...] | slice


def check_positions(selection: Positions, where: str) -> Selection | None:
    """Return positions as numbers or a slice, None for all. Raises InputError for anything else and below 0."""
    if selection is None:
        return None
    try:
        if not isinstance(selection, slice):
            return tuple(map(_position, selection if isinstance(selection, Collection) else (selection,)))
        start, stop, step = (
            part if part is None else _position(part) for part in (selection.start, selection.stop, selection.step)
        )
        if step == 0:
            raise ValueError
        return slice(start, stop, step)
    except (TypeError, ValueError):
        allowed = "places in the text from 0 on: a number, several, a slice, or None for all"
        raise InputError(msg("found {found}", found=shown(selection)), where=where, allowed=allowed) from None


def _position(number: SupportsIndex) -> int:
    position = index(number)
    if position < 0:
        raise ValueError
    return position


def position_mask(selection: Selection, positions: Tensor) -> Tensor:
    """Return True where a token has one of these positions; `positions` is −1 for padding."""
    if isinstance(selection, tuple):
        return (positions.unsqueeze(-1) == torch.tensor(selection, device=positions.device)).any(-1)
    start, step = selection.start or 0, selection.step or 1
    mask = (positions >= start) & ((positions - start) % step == 0)
    return mask if selection.stop is None else mask & (positions < selection.stop)
