"""Numbers and ranges of numbers, as options take them: 10-14,20."""

from __future__ import annotations

import re

from archcalc.errors import InputError, shown
from archcalc.words import Message, msg

_RANGE = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?")
MAX_NUMBERS = 100_000


def number_ranges(text: str, where: str, allowed: Message) -> list[int]:
    """Return numbers in the order given. Raises InputError for other texts, descending ranges, and over MAX_NUMBERS.

    >>> number_ranges("3-5,0", "positions", msg("such as 0,3-5"))
    [3, 4, 5, 0]
    """
    numbers: list[int] = []
    for part in text.split(","):
        match = _RANGE.fullmatch(part.strip())
        if match is None:
            raise InputError(msg("found {found}", found=shown(text)), where=where, allowed=allowed)
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first or len(numbers) + last - first >= MAX_NUMBERS:
            raise InputError(msg("found {found}", found=shown(part)), where=where, allowed=msg("a range that ascends"))
        numbers += range(first, last + 1)
    return numbers
