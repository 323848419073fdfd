"""Reports of every combination of some fields' values, as arrays.

There is no second set of formulas: `figures` runs on a spec whose sizes are `Varied`, once for all cells of the grid
that take the same path through it (for gpt3, one path for each n_layers, and one for all cells that are refused).
"""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

from archcalc.analysis.memory import Dtype, check_dtype
from archcalc.analysis.report import KINDS
from archcalc.analysis.sweep.cell_values import INT64, Path, Varied, at
from archcalc.analysis.sweep.runner import Axis, Runner
from archcalc.errors import InputError, nearest, shown
from archcalc.extras import require_numpy, require_pandas
from archcalc.sources import document_of
from archcalc.spec import Spec
from archcalc.spec.document import Document, encode
from archcalc.words import msg

if TYPE_CHECKING:
    import pandas as pd

MAX_CELLS = 10_000_000

Source = str | os.PathLike[str] | Document | Spec
Grid = Mapping[str, Iterable[Any]]


class Refused(msgspec.Struct, frozen=True):
    """Cells that are no model or no workload: how many, why, and the first of them by its fields."""

    cells: int
    error: InputError
    first: dict[str, Any]

    @property
    def reason(self) -> str:
        """Return the error in English."""
        return str(self.error)


class Swept(msgspec.Struct, frozen=True):
    """A grid's figures.

    `cells` are the places of the valid cells, the last axis running fastest; `figures` have an entry for each of them,
    by the names that the report's keys make ('params.by_component.ffn').
    """

    axes: tuple[Axis, ...]
    cells: Any
    figures: dict[str, Any]
    refused: tuple[Refused, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """How long the axes are."""
        return tuple(len(axis.values) for axis in self.axes)

    def fields(self) -> dict[str, Any]:
        """The swept fields' values in each valid cell."""
        import numpy as np

        indices = np.unravel_index(self.cells, self.shape)
        return {axis.field: axis.array[index] for axis, index in zip(self.axes, indices, strict=True)}


def sweep(
    source: Source,
    grid: Grid,
    *,
    changes: Document | None = None,
    batch: int = 1,
    seq: int | None = None,
    past: int = 0,
    dtype: Dtype = "bf16",
    source_seq: int | None = None,
    figures: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Return a DataFrame with a row for each combination of the grid's values.

    The columns are the swept fields, then each figure of a report, in its units.

    A row holds what `report(load(source, changes | row), batch=…, …)` says, integer for integer. A key of the grid is a
    field of the spec as `load`'s changes name it, or batch, seq, past or source_seq. What a source leaves out is
    derived for each row; of a `Spec`, whose sizes are all explicit, nothing is. `figures` names those to be kept:
    'params.total', or 'flops' for all of them.

    Combinations that `load` or `report` refuse have no row: `attrs["refused"]` says how many, why, and which is the
    first. Raises InputError for a field that there is not and a value that the field never has; MissingExtraError
    without pandas.
    """
    require_pandas()
    import pandas as pd

    work = {"batch": batch, "seq": seq, "past": past, "source_seq": source_seq}
    found = arrays(source, grid, changes=changes, work=work, dtype=dtype, figures=figures)
    frame = pd.DataFrame(found.fields() | found.figures, copy=False)
    frame.attrs["cells"] = math.prod(found.shape)
    frame.attrs["refused"] = [
        {"cells": each.cells, "reason": each.reason, "first": each.first} for each in found.refused
    ]
    frame.attrs["kinds"] = dict(KINDS)
    return frame


def arrays(
    source: Source,
    grid: Grid,
    *,
    changes: Document | None = None,
    work: Mapping[str, int | None] | None = None,
    dtype: Dtype = "bf16",
    figures: Sequence[str] | None = None,
    progress: Callable[[float], None] | None = None,
) -> Swept:
    """The figures of `sweep` as arrays, of int64 or of Python's integers; `progress` is told the share that is done.

    Raises MissingExtraError without numpy.
    """
    require_numpy()
    import numpy as np

    check_dtype(dtype)
    axes = _axes(grid)
    shape = tuple(len(axis.values) for axis in axes)
    try:
        document = encode(source) if isinstance(source, Spec) else document_of(source)
        runner = Runner(document, changes or {}, axes, work or {}, dtype)
        todo, done, refused = np.ones(shape, bool), _Collected(shape, figures), list[Refused]()
        while todo.any():
            path = Path(shape, tuple(map(int, np.unravel_index(int(np.argmax(todo)), shape))))
            found = runner.run(path)
            index, mask = path.cells()
            part = np.ix_(*index)
            assert (todo[part] >= mask).all(), "a cell takes one path"
            todo[part] &= ~mask
            if isinstance(found, InputError):
                refused.append(Refused(int(np.count_nonzero(mask)), found, {a.field: a.at(path) for a in axes}))
            else:
                done.add(dict(_flat(found)), index, mask)
            if progress:
                progress(1 - int(np.count_nonzero(todo)) / todo.size)
    except InputError as error:
        raise error.within("" if isinstance(source, dict | Spec) else str(source)) from None
    return Swept(axes, *done.joined(), tuple(refused))


def _axes(grid: Grid) -> tuple[Axis, ...]:
    axes = tuple(Axis(place, field, _values(field, grid[field])) for place, field in enumerate(grid))
    if not axes:
        raise InputError(msg("no field to sweep over"), allowed=msg("one or more, each with its values"))
    for axis in axes:
        if not axis.values:
            raise InputError(msg("no values"), where=axis.field, allowed=msg("one or more"))
    if (cells := math.prod(len(axis.values) for axis in axes)) > MAX_CELLS:
        raise InputError(
            msg("a grid of {cells:,} combinations", cells=cells),
            allowed=msg("up to {most:,}", most=MAX_CELLS),
        )
    return axes


def _values(field: str, values: Iterable[Any]) -> tuple[Any, ...]:
    """The values of an axis, of an endless one no more than show that it is too long."""
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise InputError(msg("found {found}", found=shown(values)), where=field, allowed=msg("a list of values"))
    return tuple(map(_plain, islice(values, MAX_CELLS + 1)))


def _plain(value: Any) -> Any:
    """Numpy's integers as Python's."""
    return operator.index(value) if hasattr(value, "__index__") and not isinstance(value, bool) else value


def _flat(found: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested figures by their dotted names."""
    for key, value in found.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


class _Collected:
    """The figures of one path after another, of their cells alone."""

    def __init__(self, shape: tuple[int, ...], wanted: Sequence[str] | None) -> None:
        self._shape, self._wanted = shape, wanted
        self._cells: list[Any] = []
        self._figures: dict[str, list[Any]] = {}

    def add(self, found: Mapping[str, Any], index: tuple[Any, ...], mask: Any) -> None:
        """Take a path's figures, of the cells at `mask` of the axes' indices."""
        import numpy as np

        places: Any = np.ravel_multi_index(np.ix_(*index), self._shape)
        self._cells.append(places[mask])
        for name in self._names(found):
            self._figures.setdefault(name, []).append(_gathered(found[name], index, mask))

    def joined(self) -> tuple[Any, dict[str, Any]]:
        """All cells in the grid's order, and their figures."""
        import numpy as np

        cells = np.concatenate(self._cells or [np.zeros(0, np.int64)])
        order = np.argsort(cells, kind="stable")
        # Each figure's parts are let go as it is joined: the whole is never there twice.
        return cells[order], {name: np.concatenate(self._figures.pop(name))[order] for name in list(self._figures)}

    def _names(self, found: Mapping[str, Any]) -> Iterable[str]:
        if self._wanted is None:
            return found
        for name in self._wanted:
            if not any(_names(name, figure) for figure in found):
                raise InputError(
                    msg("no figure {name}{hint}", name=shown(name), hint=nearest(name, found)),
                    where="figures",
                    allowed=", ".join(found),
                )
        return [figure for figure in found if any(_names(name, figure) for name in self._wanted)]


def _names(name: str, figure: str) -> bool:
    return f"{figure}.".startswith(f"{name}.")


def _gathered(value: Varied | int, index: tuple[Any, ...], mask: Any) -> Any:
    """A figure's values in the cells of a path."""
    import numpy as np

    if isinstance(value, Varied) and not isinstance(value.values, int):
        return np.broadcast_to(at(value.values, index), mask.shape)[mask]
    alike = int(value)
    return np.full(np.count_nonzero(mask), alike, np.int64 if INT64[0] <= alike <= INT64[1] else object)
