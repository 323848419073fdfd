"""Format counts and bytes: exact with separators, or rounded with a unit."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import isinf
from typing import Any, Final, Literal, get_args

# In which units people read bytes: powers of 1000, powers of 1024, or both.
ByteUnits = Literal["both", "GB", "GiB"]
BYTE_UNITS: Final[tuple[ByteUnits, ...]] = get_args(ByteUnits)

_COUNTS = tuple((10**power, unit) for power, unit in zip(range(24, 0, -3), "YZEPTBMK", strict=True))
_DECIMAL_BYTES = tuple((10**power, unit) for power, unit in zip(range(24, 0, -3), "YZEPTGMk", strict=True))
_BINARY_BYTES = tuple((2**power, f"{unit}i") for power, unit in zip(range(80, 0, -10), "YZEPTGMK", strict=True))
# From this part of a unit on, a value is printed in it: 999.95 kB would be rounded to 1000 kB, 1023.5 KiB to 1024 KiB.
_DECIMAL_PART, _BINARY_PART = 9_999.5 / 10_000, 2047 / 2048


def exact(count: int) -> str:
    """Return a count with separators: 174604259328 → '174,604,259,328'."""
    return f"{count:,}"


def human(count: int) -> str:
    """Return a count with four significant digits: 174604259328 → '174.6 B', 12288 → '12.29 K', 999 → '999'."""
    return _scaled(count, _COUNTS, _DECIMAL_PART).strip()


def bytes_text(count: int, units: ByteUnits = "both") -> str:
    """Return bytes with four significant digits: 349208518656 → '349.2 GB (325.2 GiB)', in one unit '325.2 GiB'."""
    decimal = f"{_scaled(count, _DECIMAL_BYTES, _DECIMAL_PART)}B"
    binary = f"{_scaled(count, _BINARY_BYTES, _BINARY_PART)}B"
    if units == "both" and count >= 1024:
        return f"{decimal} ({binary})"
    return binary if units == "GiB" else decimal


def _scaled(count: int, units: tuple[tuple[int, str], ...], part: float) -> str:
    for size, unit in units:
        if count >= size * part:
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
