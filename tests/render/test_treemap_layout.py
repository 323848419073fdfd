"""The layout of treemaps: areas in proportion, nothing over another, each group in a rectangle of its own."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archcalc.render.charts.treemap_layout import Area, layout
from tests.examples import examples

WIDTH, HEIGHT = 960.0, 480.0
# Rounding of float areas, in pixels.
CLOSE = 1e-4

sizes = st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 10**6)), min_size=1, max_size=30)


def overlap(a: Area, b: Area) -> float:
    """Return the smaller side of what two areas share; negative where they are apart."""
    across = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
    down = min(a.y + a.height, b.y + b.height) - max(a.y, b.y)
    return min(across, down)


def around(areas: list[Area]) -> Area:
    """Return the smallest rectangle that holds all areas."""
    x, y = min(a.x for a in areas), min(a.y for a in areas)
    return Area(x, y, max(a.x + a.width for a in areas) - x, max(a.y + a.height for a in areas) - y)


@examples(100)
@given(sizes)
def test_areas_are_in_proportion_cover_the_whole_and_do_not_overlap(found: list[tuple[str, int]]) -> None:
    areas, total = layout(found, WIDTH, HEIGHT), sum(size for _, size in found)
    for area, (_, size) in zip(areas, found, strict=True):
        assert area.width * area.height == pytest.approx(WIDTH * HEIGHT * size / total, rel=1e-5)
        assert -CLOSE <= area.x <= area.x + area.width <= WIDTH + CLOSE
        assert -CLOSE <= area.y <= area.y + area.height <= HEIGHT + CLOSE
    assert all(overlap(a, b) <= CLOSE for a, b in combinations(areas, 2))


@examples(100)
@given(sizes)
def test_each_group_is_a_rectangle(found: list[tuple[str, int]]) -> None:
    areas = layout(found, WIDTH, HEIGHT)
    for name in {group for group, _ in found}:
        own = [area for area, (group, _) in zip(areas, found, strict=True) if group == name]
        whole = around(own)
        assert whole.width * whole.height == pytest.approx(sum(area.width * area.height for area in own))


def test_the_largest_comes_first() -> None:
    small, large = layout([("a", 1), ("a", 3)], 40, 10)
    assert (large, small) == (Area(0, 0, 30, 10), Area(30, 0, 10, 10))
