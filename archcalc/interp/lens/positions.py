"""The positions of a text that a lens reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from archcalc.errors import InputError, shown
from archcalc.words import msg


def read_positions(positions: Sequence[int] | str | None, n_tokens: int) -> tuple[int, ...]:
    """Return positions as numbers from 0: None is the last, 'all' every one; −1 is the last.

    Raises InputError for a position beyond the text.
    """
    if positions == "all":
        return tuple(range(n_tokens))
    wanted: list[Any] = [-1] if positions is None else [positions] if isinstance(positions, str) else list(positions)
    for position in wanted:
        if isinstance(position, bool) or not isinstance(position, int) or not -n_tokens <= position < n_tokens:
            raise InputError(
                msg("found {found}", found=shown(position)),
                where="positions",
                allowed=msg("0 to {last}, or 'all'", last=n_tokens - 1),
            )
    if not wanted:
        raise InputError(msg("found none"), where="positions", allowed=msg("1 or more"))
    return tuple(dict.fromkeys(position % n_tokens for position in wanted))
