"""Numbers of many cells at once are, in every cell of their path, the numbers that plain integers would have been."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archcalc.analysis.sweep.cell_values import CellValues, Path, select

# Near what int64 holds, near its root, and small; of both signs.
NUMBERS = st.one_of(*(st.integers(edge - 9, edge + 9) for edge in (0, 2**31, 2**32, 2**62, 2**63 - 10, -(2**62))))
AXES = st.lists(st.lists(NUMBERS, min_size=1, max_size=4), min_size=1, max_size=3)
BINARY = (operator.add, operator.sub, operator.mul, operator.floordiv, operator.mod)
COMPARE = (operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge)
# An expression: a value on the stack, or an operation on those on top of it.
STEP = st.sampled_from(("axis", "axis", "constant", "abs", "neg", "if", "index", *BINARY, *COMPARE))
Steps = list[tuple[Any, int]]


def computed(steps: Steps, axes: list[Any]) -> Any:
    """What a program gives of these numbers, which it sometimes decides by."""
    stack = [*axes]
    for step, number in steps:
        a, b = stack[-1], stack[number % len(stack)]
        if step == "axis":
            stack.append(axes[number % len(axes)])
        elif step == "constant":
            stack.append(number)
        elif step in ("abs", "neg"):
            stack.append(getattr(operator, step)(a))
        elif step == "if":
            stack.append(a - b if a else b)
        elif step == "index":
            stack.append(range(operator.index(a) % 7)[-1:].stop)
        elif step in COMPARE:
            stack.append(b if step(a, b) else number)
        elif step not in (operator.floordiv, operator.mod) or b:
            stack.append(step(a, b))
    return stack[-1]


def walked(axes: list[list[int]], run: Callable[[list[Any]], Any]) -> Iterator[tuple[tuple[int, ...], Any]]:
    """Every cell of a grid and its result, path by path."""
    shape = tuple(map(len, axes))
    todo = numpy.ones(shape, bool)
    while todo.any():
        path = Path(shape, tuple(map(int, numpy.unravel_index(todo.argmax(), shape))))
        found = run([path.along_axis(i, numpy.array(values)) for i, values in enumerate(axes)])
        index, mask = path.cells()
        for where in zip(*numpy.nonzero(mask), strict=True):
            cell = tuple(int(index[axis][i]) for axis, i in enumerate(where))
            assert todo[cell], "one path a cell"
            todo[cell] = False
            if isinstance(found, CellValues) and not isinstance(found.values, int):
                value = numpy.broadcast_to(select(found.values, index), mask.shape)[where]
                assert found.low <= value <= found.high
            else:
                value = found
            yield cell, int(value)


@given(AXES, st.lists(st.tuples(STEP, NUMBERS), max_size=8))
def test_a_program_gives_each_cell_its_own_result(axes: list[list[int]], steps: Steps) -> None:
    found = dict(walked(axes, lambda numbers: computed(steps, numbers)))
    alone = {
        cell: computed(steps, [values[i] for values, i in zip(axes, cell, strict=True)])
        for cell in product(*(range(len(values)) for values in axes))
    }
    assert found == alone


@pytest.mark.parametrize("op", BINARY)
@given(NUMBERS, NUMBERS | st.sampled_from((2**64, 2**70, -(2**70))))
def test_a_plain_integer_on_either_side(op: Callable[[Any, Any], Any], a: int, b: int) -> None:
    if not b and op in (operator.floordiv, operator.mod):
        return
    path = Path((1,), (0,))
    assert op(path.along_axis(0, numpy.array([a])), b).values.tolist() == [op(a, b)]
    assert op(b, path.along_axis(0, numpy.array([a or 1]))).values.tolist() == [op(b, a or 1)]


@pytest.mark.parametrize("op", COMPARE)
@given(NUMBERS, NUMBERS | st.sampled_from((2**64, 2**70, -(2**70))))
def test_comparing_with_a_plain_integer(op: Callable[[Any, Any], bool], a: int, b: int) -> None:
    path = Path((2,), (0,))
    assert op(path.along_axis(0, numpy.array([a, 0])), b) == op(a, b)
    (index,), mask = path.cells()
    assert index[mask].tolist() == ([0, 1] if op(0, b) == op(a, b) else [0])


def test_the_bound_decides_the_type() -> None:
    path = Path((2,), (0,))
    root = path.along_axis(0, numpy.array([1, 2**31]))
    assert (root * root).values.dtype == numpy.int64
    assert (root * root * 2 - 1).values.dtype == object, "its product is 2^63, though the difference would fit"
    assert (root * root * 2 - 1).values.tolist() == [1, 2**63 - 1]


def test_zero_divides_no_other_cell() -> None:
    path = Path((2,), (0,))
    assert (6 // path.along_axis(0, numpy.array([3, 0]))).rep == 2
    (index,), mask = path.cells()
    assert index[mask].tolist() == [0]
    with pytest.raises(ZeroDivisionError):
        6 % Path((2,), (1,)).along_axis(0, numpy.array([3, 0]))


def test_what_is_no_integer_is_refused() -> None:
    number = Path((1,), (0,)).constant(3)
    assert number != "3"
    assert (number == None) is False  # noqa: E711
    with pytest.raises(TypeError):
        number + 0.5
    with pytest.raises(TypeError):
        assert number < "4"


def test_messages_show_the_representative() -> None:
    number = Path((2,), (1,)).along_axis(0, numpy.array([1000, 2000]))
    assert (f"{number:,}", str(number)) == ("2,000", "2000")
