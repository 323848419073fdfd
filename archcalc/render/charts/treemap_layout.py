"""The layout of every treemap: areas in proportion to sizes, close to squares (Bruls et al. 2000)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple, TypeVar

Name = TypeVar("Name")


class Area(NamedTuple):
    """A rectangle by its upper left corner and its sides."""

    x: float
    y: float
    width: float
    height: float

    def transposed(self) -> Area:
        """Return the area with its axes exchanged."""
        return Area(self.y, self.x, self.height, self.width)


def layout(sizes: Sequence[tuple[str, int]], width: float, height: float) -> list[Area]:
    """Return an area for each (group, size), in the same order: areas in proportion to sizes, groups contiguous.

    The groups are placed first, then each group's members inside it. Sizes are positive.
    """
    members: dict[str, list[int]] = {}
    for index, (group, _) in enumerate(sizes):
        members.setdefault(group, []).append(index)
    sums = {group: sum(sizes[index][1] for index in of) for group, of in members.items()}
    groups = _squares(sums, Area(0, 0, width, height))
    areas: dict[int, Area] = {}
    for group, of in members.items():
        areas |= _squares({index: sizes[index][1] for index in of}, groups[group])
    return [areas[index] for index in range(len(sizes))]


def _squares(sizes: Mapping[Name, int], whole: Area) -> dict[Name, Area]:
    """Divide an area, the largest part first."""
    names = sorted(sizes, key=lambda name: -sizes[name])
    return dict(zip(names, squarified([sizes[name] for name in names], whole), strict=True))


def squarified(values: Sequence[int], whole: Area) -> list[Area]:
    """Return an area for each value; together they fill the whole.

    Values are positive, the largest first. Strips are cut off along the shorter side, one after another.
    """
    areas: list[Area] = []
    while values:
        is_wide = whole.width >= whole.height
        n, scale = _strip_length(values, whole), sum(values)
        strip, whole = _strip(values[:n], scale, whole if is_wide else whole.transposed())
        areas += strip if is_wide else [area.transposed() for area in strip]
        whole = whole if is_wide else whole.transposed()
        values = values[n:]
    return areas


def _strip_length(values: Sequence[int], whole: Area) -> int:
    """Return how many values make the strip whose worst rectangle is closest to a square."""
    short, long = sorted(whole[2:])
    if short == 0 or short / long == 0:  # too thin for a float
        return len(values)
    scale, best = sum(values), float("inf")
    for n, covered in enumerate(accumulate(values), 1):
        thickness = covered / scale
        shapes = [short / long * (value / covered) / thickness for value in (values[0], values[n - 1])]
        worst = max(max(shape, 1 / shape) for shape in shapes)
        if worst > best:
            return n - 1
        best = worst
    return len(values)


def _strip(values: Sequence[int], scale: int, whole: Area) -> tuple[list[Area], Area]:
    """Return the values' areas at the left edge of a wide area, and what is left of it."""
    covered = sum(values)
    x, y, width, height = whole
    thickness = width * (covered / scale)
    starts = accumulate(values[:-1], initial=0)
    areas = [
        Area(x, y + height * (start / covered), thickness, height * (value / covered))
        for start, value in zip(starts, values, strict=True)
    ]
    return areas, Area(x + thickness, y, width - thickness, height)
