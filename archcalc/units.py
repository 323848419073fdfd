"""Format counts and bytes: exact with separators, or rounded with a unit."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import isinf
from typing import Any

_COUNTS = tuple((10**power, unit) for power, unit in zip(range(24, 0, -3), "YZEPTBMK", strict=True))
_BYTES = tuple((10**power, unit) for power, unit in zip(range(24, 0, -3), "YZEPTGMk", strict=True))


def exact(count: int) -> str:
    """Return a count with separators: 174604259328 → '174,604,259,328'."""
    return f"{count:,}"


def human(count: int) -> str:
    """Return a count with four significant digits: 174604259328 → '174.6 B', 12288 → '12.29 K', 999 → '999'."""
    return _scaled(count, _COUNTS).strip()


def human_bytes(count: int) -> str:
    """Return bytes in decimal units: 349208518656 → '349.2 GB'."""
    return f"{_scaled(count, _BYTES)}B"


def _scaled(count: int, units: tuple[tuple[int, str], ...]) -> str:
    for size, unit in units:
        # A value that would round to 1000 is printed in the next unit.
        if count * 10_000 >= size * 9_999.5:
            value = count / size
            return f"{value:#.4g} {unit}" if value < 1000 else f"{value:.0f} {unit}"
    return f"{count} "


def vector(value: Any) -> str:
    """Return numbers in brackets: [0.5, -inf] → '[0.500, −∞]'; whole numbers stay whole, lists may be nested."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(vector, value))}]"
    return str(value) if isinstance(value, int) else ("−∞" if isinf(value) else f"{round(value, 3) + 0.0:.3f}")


def percent(part: int, whole: int) -> str:
    """Return a share with two decimals, such as '33.21 %'; '-' if `whole` is 0."""
    return f"{100 * part / whole:.2f} %" if whole else "-"


def ranges(indices: Sequence[int]) -> str:
    """Return ascending indices in short: '0–5', '0, 2 … 10', '0–4, 6–10, …'."""
    steps = {b - a for a, b in pairwise(indices)}
    if len(indices) > 3 and len(steps) == 1 and steps != {1}:
        return f"{indices[0]}, {indices[1]} … {indices[-1]}"
    runs: list[list[int]] = []
    for index in indices:
        if runs and index == runs[-1][-1] + 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    words = [str(run[0]) if len(run) == 1 else f"{run[0]}–{run[-1]}" for run in runs]
    return ", ".join(words[:3] + ["…"] * (len(words) > 3))
