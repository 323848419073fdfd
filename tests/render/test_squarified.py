"""The layout of a treemap: areas in proportion, none over another, none long and thin."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archcalc.render.charts.treemap_layout import Area, squarified

SIDES = st.floats(1, 10_000)
VALUES = st.lists(st.integers(1, 1000), min_size=1, max_size=60).map(lambda values: sorted(values, reverse=True))


def test_the_example_of_the_paper() -> None:
    """Bruls, Huizing, van Wijk, figure 4: 6, 6, 4, 3, 2, 2, 1 in 6 × 4."""
    expected = [
        Area(0, 0, 3, 2),
        Area(0, 2, 3, 2),
        Area(3, 0, 12 / 7, 7 / 3),
        Area(3 + 12 / 7, 0, 9 / 7, 7 / 3),
        Area(3, 7 / 3, 6 / 5, 5 / 3),
        Area(4.2, 7 / 3, 6 / 5, 5 / 3),
        Area(5.4, 7 / 3, 3 / 5, 5 / 3),
    ]
    for area, other in zip(squarified([6, 6, 4, 3, 2, 2, 1], Area(0, 0, 6, 4)), expected, strict=True):
        assert area == pytest.approx(other)


@given(VALUES, SIDES, SIDES)
def test_areas_are_in_proportion_and_inside(values: list[int], width: float, height: float) -> None:
    areas = squarified(values, Area(5, -3, width, height))
    for value, area in zip(values, areas, strict=True):
        assert area.width * area.height == pytest.approx(width * height * value / sum(values))
        assert area.x >= 5
        assert area.x + area.width <= 5 + width * (1 + 1e-9)
        assert area.y >= -3
        assert area.y + area.height <= -3 + height * (1 + 1e-9)


@given(VALUES, SIDES, SIDES)
def test_no_area_is_over_another(values: list[int], width: float, height: float) -> None:
    areas = squarified(values, Area(0, 0, width, height))
    slack = 1e-9 * max(width, height)
    for i, one in enumerate(areas):
        for other in areas[:i]:
            apart_x = one.x >= other.x + other.width - slack or other.x >= one.x + one.width - slack
            apart_y = one.y >= other.y + other.height - slack or other.y >= one.y + one.height - slack
            assert apart_x or apart_y


@given(st.integers(2, 200))
def test_equal_values_are_nearly_square(n: int) -> None:
    assert all(1 / 3 <= area.width / area.height <= 3 for area in squarified([7] * n, Area(0, 0, 960, 480)))


def test_values_that_a_float_cannot_tell_apart() -> None:
    values = [10**24, *[1] * 5]
    areas = squarified(values, Area(0, 0, 960, 480))
    assert areas[0] == Area(0, 0, 960, 480)
    assert all(area.width * area.height < 1e-6 for area in areas[1:])


def test_no_values() -> None:
    assert squarified([], Area(0, 0, 1, 1)) == []


def test_many_values_take_one_strip_after_another() -> None:
    areas = squarified(range(3000, 0, -1), Area(0, 0, 960, 480))
    assert len({(area.x, area.y) for area in areas}) == 3000
    assert all(one.width * one.height > other.width * other.height for one, other in pairwise(areas))
