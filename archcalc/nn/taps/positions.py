"""Which tokens an edit is about, by where they stand in their texts.

Axes: B batch, T tokens.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import index

import torch
from torch import Tensor

from archcalc.errors import InputError, shown

At = int | slice | Iterable[int] | None


def checked(at: At, where: str) -> tuple[int, ...] | slice | None:
    """Positions as numbers or a slice, None for all. Raises InputError for what is neither, or below 0."""
    try:
        if at is None or isinstance(at, slice):
            numbers = [] if at is None else [part for part in (at.start, at.stop, at.step) if part is not None]
            found = at
        else:
            numbers = found = tuple(map(index, at if isinstance(at, Iterable) else (at,)))
        if any(index(number) < 0 for number in numbers) or (isinstance(at, slice) and at.step == 0):
            raise TypeError
    except TypeError:
        allowed = "places in the text from 0 on: a number, several, a slice, or None for all"
        raise InputError(f"found {shown(at)}", where=where, allowed=allowed) from None
    return found  # type: ignore[return-value]


def among(at: tuple[int, ...] | slice, standing: Tensor) -> Tensor:
    """True where a token stands at one of these positions; `standing` is −1 where there is none."""
    if isinstance(at, tuple):
        return (standing.unsqueeze(-1) == torch.tensor(at, device=standing.device)).any(-1)
    start, step = at.start or 0, at.step or 1
    found = (standing >= start) & ((standing - start) % step == 0)
    return found if at.stop is None else found & (standing < at.stop)
