"""An integer with a value for every cell of a grid, which a sweep uses as the sizes of a spec and a workload.

Code that works on sizes runs on these unchanged, once for many cells. It follows the branches of one cell, the
representative. Wherever a size decides a branch, the path records the cells that decide alike: for these the results
are valid, since the same code would have run on each of them. The other cells take another path.

Values are int64 where their bounds, computed in Python's integers before each operation, fit; else Python's integers.
So nothing wraps.

archcalc/ledger/__init__.py lists what such code may do with a size.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from itertools import product
from typing import Any

INT64 = (-(2**63), 2**63 - 1)


class Path:
    """The branches that the code takes for `cell` (an index for each axis of the grid), and the cells that share them.

    A condition is a boolean array that broadcasts to the shape of the grid.
    """

    def __init__(self, shape: tuple[int, ...], cell: tuple[int, ...]) -> None:
        self.shape, self.cell = shape, cell
        self._conditions: list[Any] = []

    def require(self, condition: Any) -> None:
        """Restrict the path to cells where the condition is true."""
        if not condition.all():
            self._conditions.append(condition)

    def constant(self, value: int) -> CellValues:
        """Return an integer that is the same in every cell."""
        return CellValues(self, value, value, value, value)

    def along_axis(self, axis: int, values: Any) -> CellValues:
        """Return an integer that has these values along one axis."""
        shape = [1] * len(self.shape)
        shape[axis] = len(values)
        rep = int(values[self.cell[axis]])
        return CellValues(self, rep, values.reshape(shape), int(values.min()), int(values.max()))

    def fix_axis(self, axis: int) -> None:
        """Restrict the path to cells with the representative's index along an axis."""
        import numpy as np

        is_same = np.arange(self.shape[axis]) == self.cell[axis]
        self.require(is_same.reshape([-1 if i == axis else 1 for i in range(len(self.shape))]))

    def cells(self) -> tuple[tuple[Any, ...], Any]:
        """Return the cells on the path: indices along each axis, and a mask over the product of these indices."""
        import numpy as np

        along_axes = [np.ones(n, bool) for n in self.shape]
        joint = []
        for condition in self._conditions:
            axes = [axis for axis, n in enumerate(condition.shape) if n > 1]
            if len(axes) == 1:
                along_axes[axes[0]] &= condition.ravel()
            else:
                joint.append(condition)
        index = tuple(map(np.flatnonzero, along_axes))
        mask = np.ones([len(each) for each in index], bool)
        for condition in joint:
            mask &= select(condition, index)
        return index, mask


def select(values: Any, index: tuple[Any, ...]) -> Any:
    """Select `index` along every axis of an array; broadcast axes are left alone."""
    for axis, selection in enumerate(index):
        if len(selection) < values.shape[axis] > 1:
            values = values.take(selection, axis)
    return values


class CellValues:
    """An integer in each cell: `rep` in the representative one, from `low` to `high` in all.

    `values` is an array that broadcasts to the shape of the grid, or one int. Code that needs a plain int (a range, an
    index) gets the representative's, and the path is restricted to cells that share it. As text, which only messages
    use, it is the representative's.
    """

    __slots__ = ("high", "low", "path", "rep", "values")

    def __init__(self, path: Path, rep: int, values: Any, low: int, high: int) -> None:
        self.path, self.rep, self.values, self.low, self.high = path, rep, values, low, high

    def __add__(self, other: CellValues | int) -> CellValues:
        return self._and(other, operator.add)

    def __sub__(self, other: CellValues | int) -> CellValues:
        return self._and(other, operator.sub)

    def __mul__(self, other: CellValues | int) -> CellValues:
        return self._and(other, operator.mul)

    def __floordiv__(self, other: CellValues | int) -> CellValues:
        return self._and(other, operator.floordiv)

    def __mod__(self, other: CellValues | int) -> CellValues:
        return self._and(other, operator.mod)

    def __rsub__(self, other: int) -> CellValues:
        return self.path.constant(other) - self

    def __rfloordiv__(self, other: int) -> CellValues:
        return self.path.constant(other) // self

    def __rmod__(self, other: int) -> CellValues:
        return self.path.constant(other) % self

    __radd__, __rmul__ = __add__, __mul__

    def __neg__(self) -> CellValues:
        return 0 - self

    def __abs__(self) -> CellValues:
        high = max(abs(self.low), abs(self.high))
        return CellValues(self.path, abs(self.rep), abs(_exact(self.values, (-high, high))), 0, high)

    def __eq__(self, other: object) -> bool:
        return self._is(other, operator.eq)

    def __ne__(self, other: object) -> bool:
        return self._is(other, operator.ne)

    def __lt__(self, other: CellValues | int) -> bool:
        return self._is(other, operator.lt)

    def __le__(self, other: CellValues | int) -> bool:
        return self._is(other, operator.le)

    def __gt__(self, other: CellValues | int) -> bool:
        return self._is(other, operator.gt)

    def __ge__(self, other: CellValues | int) -> bool:
        return self._is(other, operator.ge)

    def __bool__(self) -> bool:
        return self != 0

    def __hash__(self) -> int:
        """Return one hash for all, so that sets and mappings compare values, which the path records."""
        return 0

    def __index__(self) -> int:
        if not isinstance(self.values, int):
            self.path.require(self.values == self.rep)
        return self.rep

    def __str__(self) -> str:
        return str(self.rep)

    def __format__(self, form: str) -> str:
        return format(self.rep, form)

    def _and(self, other: CellValues | int, op: Callable[[Any, Any], Any]) -> CellValues:
        """Return the result of an operation in every cell."""
        if not isinstance(other, CellValues):
            if not isinstance(other, int):
                return NotImplemented
            other = self.path.constant(other)
        if op in (operator.floordiv, operator.mod) and other.low <= 0 <= other.high:
            other = self.path.constant(int(other))  # cells that divide by 0 take another path
        rep = op(self.rep, other.rep)
        low, high = _bounds(self, other, op)
        ends = (self.low, self.high, other.low, other.high, low, high)
        return CellValues(self.path, rep, op(_exact(self.values, ends), _exact(other.values, ends)), low, high)

    def _is(self, other: object, op: Callable[[Any, Any], bool]) -> bool:
        """Return the comparison in the representative cell, and restrict the path to cells with the same outcome."""
        if not isinstance(other, CellValues):
            if not isinstance(other, int):
                return NotImplemented  # type: ignore[no-any-return]
            other = self.path.constant(other)
        outcome: bool = op(self.rep, other.rep)
        if self is not other and not (isinstance(self.values, int) and isinstance(other.values, int)):
            ends = (self.low, self.high, other.low, other.high)
            self.path.require(op(_exact(self.values, ends), _exact(other.values, ends)) == outcome)
        return outcome


def _bounds(left: CellValues, right: CellValues, op: Callable[[int, int], int]) -> tuple[int, int]:
    """Return bounds of the results: those at the ends, since all operations but `%` are monotonic in each operand."""
    if op is operator.mod:
        most = max(abs(right.low), abs(right.high)) - 1
        return -most, most
    ends = [op(a, b) for a, b in product((left.low, left.high), (right.low, right.high))]
    return min(ends), max(ends)


def _exact(values: Any, ends: tuple[int, ...]) -> Any:
    """Return the values in a type that holds all numbers between these ends."""
    if isinstance(values, int) or (min(ends) >= INT64[0] and max(ends) <= INT64[1]):
        return values
    return values.astype(object)
