"""The layout of every treemap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import msgspec
import squarify

Name = TypeVar("Name")


class Area(msgspec.Struct, frozen=True):
    """A rectangle, in the units of the treemap that it is part of."""

    x: float
    y: float
    width: float
    height: float


def layout(sizes: Sequence[tuple[str, int]], width: float, height: float) -> list[Area]:
    """Return an area for each (group, size), in the same order: areas in proportion to sizes, groups contiguous.

    Squarified (Bruls et al. 2000): the groups first, then each group's members inside it. Sizes are positive.
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
    normal = squarify.normalize_sizes([sizes[name] for name in names], whole.width, whole.height)
    placed = squarify.squarify(normal, whole.x, whole.y, whole.width, whole.height)
    return {name: Area(at["x"], at["y"], at["dx"], at["dy"]) for name, at in zip(names, placed, strict=True)}
