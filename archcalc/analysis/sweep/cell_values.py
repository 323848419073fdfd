"""An integer with a value for every cell of a grid: what a sweep puts where a spec and a workload have sizes.

Code that works on sizes runs on these as it stands, once for many cells. It goes the way that one of them, the
representative, has it go; wherever a size decides that way, the path notes in which cells it decides alike. Of those
cells the results hold, for it is what would have run on each of them alone. The others take another path.

Values are int64 where their bounds, worked out in Python's integers before each operation, say that all of them fit;
else they are Python's integers. So nothing wraps.

What such code may do with a size is said in archcalc/ledger/__init__.py.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from itertools import product
from typing import Any

INT64 = (-(2**63), 2**63 - 1)


class Path:
    """One way through the code: that of `cell` (an index for each axis of the grid), and the cells that take it too.

    A condition is an array of truths with an axis for each of the grid's, as long as it or 1.
    """

    def __init__(self, shape: tuple[int, ...], cell: tuple[int, ...]) -> None:
        self.shape, self.cell = shape, cell
        self._conditions: list[Any] = []

    def hold(self, condition: Any) -> None:
        """Note that only cells where this is true take the path."""
        if not condition.all():
            self._conditions.append(condition)

    def constant(self, value: int) -> Varied:
        """A number that is the same in every cell."""
        return Varied(self, value, value, value, value)

    def along(self, axis: int, values: Any) -> Varied:
        """A number that changes along one axis: an array of its values."""
        shape = [1] * len(self.shape)
        shape[axis] = len(values)
        rep = int(values[self.cell[axis]])
        return Varied(self, rep, values.reshape(shape), int(values.min()), int(values.max()))

    def stay(self, axis: int) -> None:
        """Note that only cells with the representative's index on an axis take the path."""
        import numpy as np

        here = np.arange(self.shape[axis]) == self.cell[axis]
        self.hold(here.reshape([-1 if i == axis else 1 for i in range(len(self.shape))]))

    def cells(self) -> tuple[tuple[Any, ...], Any]:
        """The cells on the path: which indices of each axis have any, and of the product of these, which cells are."""
        import numpy as np

        kept = [np.ones(n, bool) for n in self.shape]
        joint = []
        for condition in self._conditions:
            axes = [axis for axis, n in enumerate(condition.shape) if n > 1]
            if len(axes) == 1:
                kept[axes[0]] &= condition.ravel()
            else:
                joint.append(condition)
        index = tuple(map(np.flatnonzero, kept))
        mask = np.ones([len(each) for each in index], bool)
        for condition in joint:
            mask &= at(condition, index)
        return index, mask


def at(values: Any, index: tuple[Any, ...]) -> Any:
    """The part of an array at the indices of each axis; where it does not vary, it still does not."""
    for axis, kept in enumerate(index):
        if len(kept) < values.shape[axis] > 1:
            values = values.take(kept, axis)
    return values


class Varied:
    """An integer in each cell: `rep` in the representative one, none below `low`, none above `high`.

    `values` is an array with an axis for each of the grid's (of length 1 where nothing varies along it), or one int.
    What asks for a plain int (a range, an index) gets the representative's, and the path keeps to cells that have it
    too. As text, which only messages show, a number is the representative's.
    """

    __slots__ = ("high", "low", "path", "rep", "values")

    def __init__(self, path: Path, rep: int, values: Any, low: int, high: int) -> None:
        self.path, self.rep, self.values, self.low, self.high = path, rep, values, low, high

    def __add__(self, other: Varied | int) -> Varied:
        return self._and(other, operator.add)

    def __sub__(self, other: Varied | int) -> Varied:
        return self._and(other, operator.sub)

    def __mul__(self, other: Varied | int) -> Varied:
        return self._and(other, operator.mul)

    def __floordiv__(self, other: Varied | int) -> Varied:
        return self._and(other, operator.floordiv)

    def __mod__(self, other: Varied | int) -> Varied:
        return self._and(other, operator.mod)

    def __rsub__(self, other: int) -> Varied:
        return self.path.constant(other) - self

    def __rfloordiv__(self, other: int) -> Varied:
        return self.path.constant(other) // self

    def __rmod__(self, other: int) -> Varied:
        return self.path.constant(other) % self

    __radd__, __rmul__ = __add__, __mul__

    def __neg__(self) -> Varied:
        return 0 - self

    def __abs__(self) -> Varied:
        high = max(abs(self.low), abs(self.high))
        return Varied(self.path, abs(self.rep), abs(_exact(self.values, (-high, high))), 0, high)

    def __eq__(self, other: object) -> bool:
        return self._is(other, operator.eq)

    def __ne__(self, other: object) -> bool:
        return self._is(other, operator.ne)

    def __lt__(self, other: Varied | int) -> bool:
        return self._is(other, operator.lt)

    def __le__(self, other: Varied | int) -> bool:
        return self._is(other, operator.le)

    def __gt__(self, other: Varied | int) -> bool:
        return self._is(other, operator.gt)

    def __ge__(self, other: Varied | int) -> bool:
        return self._is(other, operator.ge)

    def __bool__(self) -> bool:
        return self != 0

    def __hash__(self) -> int:
        """All alike, so that sets and mappings compare, and the path hears of it."""
        return 0

    def __index__(self) -> int:
        if not isinstance(self.values, int):
            self.path.hold(self.values == self.rep)
        return self.rep

    def __str__(self) -> str:
        return str(self.rep)

    def __format__(self, form: str) -> str:
        return format(self.rep, form)

    def _and(self, other: Varied | int, op: Callable[[Any, Any], Any]) -> Varied:
        """The result of an operation in every cell."""
        if not isinstance(other, Varied):
            if not isinstance(other, int):
                return NotImplemented
            other = self.path.constant(other)
        if op in (operator.floordiv, operator.mod) and other.low <= 0 <= other.high:
            other = self.path.constant(int(other))  # a cell that divides by 0 takes a path of its own
        rep = op(self.rep, other.rep)
        low, high = _bounds(self, other, op)
        ends = (self.low, self.high, other.low, other.high, low, high)
        return Varied(self.path, rep, op(_exact(self.values, ends), _exact(other.values, ends)), low, high)

    def _is(self, other: object, op: Callable[[Any, Any], bool]) -> bool:
        """How a comparison falls out in the representative cell; the path notes where else it does."""
        if not isinstance(other, Varied):
            if not isinstance(other, int):
                return NotImplemented  # type: ignore[no-any-return]
            other = self.path.constant(other)
        found: bool = op(self.rep, other.rep)
        if self is not other and not (isinstance(self.values, int) and isinstance(other.values, int)):
            ends = (self.low, self.high, other.low, other.high)
            self.path.hold(op(_exact(self.values, ends), _exact(other.values, ends)) == found)
        return found


def _bounds(left: Varied, right: Varied, op: Callable[[int, int], int]) -> tuple[int, int]:
    """Where the results lie: between those at the ends, for each operation but the last grows or falls all along."""
    if op is operator.mod:
        most = max(abs(right.low), abs(right.high)) - 1
        return -most, most
    ends = [op(a, b) for a, b in product((left.low, left.high), (right.low, right.high))]
    return min(ends), max(ends)


def _exact(values: Any, ends: tuple[int, ...]) -> Any:
    """The values in a type that holds all numbers between these ends."""
    if isinstance(values, int) or (min(ends) >= INT64[0] and max(ends) <= INT64[1]):
        return values
    return values.astype(object)
