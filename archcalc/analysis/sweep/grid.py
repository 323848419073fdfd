"""Reports of every combination of field values, as arrays.

There is no second set of formulas: `figures` runs on a spec whose sizes are `CellValues`, once for all cells of the
grid that take the same path through it (for gpt3, one path for each n_layers, and one for all cells that are refused).
"""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from archcalc.analysis.memory import AUTO, DtypeOrAuto, check_dtype
from archcalc.analysis.report import KINDS
from archcalc.analysis.sweep.cell_values import INT64, CellValues, Path, select
from archcalc.analysis.sweep.runner import Axis, Runner
from archcalc.errors import InputError, nearest, shown
from archcalc.extras import require_numpy, require_pandas
from archcalc.results import Row, count, data, plain, text
from archcalc.sources import check_source, document_of
from archcalc.spec import Spec
from archcalc.spec.document import Document, encode
from archcalc.words import Message, joined, msg

if TYPE_CHECKING:
    import pandas as pd

MAX_CELLS = 10_000_000

Source = str | os.PathLike[str] | Document | Spec
Grid = Mapping[str, Iterable[Any]]


class Refusal(Row, frozen=True, kw_only=True):
    """Cells that are not a valid model or workload, and the fields of the first one."""

    cells: Annotated[int, count(msg("combinations"))]
    reason: Annotated[Message, text(msg("reason"))]
    first: Annotated[dict[str, Any], data(msg("fields of the first combination"))]


class SweepArrays(msgspec.Struct, frozen=True):
    """The figures of a grid.

    `places` are the flat indices of the valid cells, the last axis running fastest. `figures` have an entry for each,
    named by the keys of the report ('params.by_component.ffn').
    """

    axes: tuple[Axis, ...]
    places: Any
    figures: dict[str, Any]
    refusals: tuple[Refusal, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the lengths of the axes."""
        return tuple(len(axis.values) for axis in self.axes)

    def columns(self) -> dict[str, Any]:
        """Return the values of the swept fields and the figures in each valid cell."""
        import numpy as np

        indices = np.unravel_index(self.places, self.shape)
        fields = {axis.field: axis.array[index] for axis, index in zip(self.axes, indices, strict=True)}
        return fields | self.figures


def sweep(
    source: Source,
    grid: Grid,
    *,
    changes: Document | None = None,
    batch: int = 1,
    seq: int | None = None,
    past: int = 0,
    dtype: DtypeOrAuto = AUTO,
    source_seq: int | None = None,
    figures: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Return a DataFrame with a row for each combination of the grid's values.

    The columns are the swept fields, then the figures of a report, in its units.

    A row has the figures of `report(load(source, changes | row), batch=…, …)`, integer for integer. A key of the grid
    is a field of the spec, named as in the changes of `load`, or batch, seq, past or source_seq. Sizes that a source
    leaves out are derived for each row; a `Spec` leaves out none. `figures` selects figures: 'params.total', or 'flops'
    for all of a group.

    Combinations that `load` or `report` refuse have no row: `attrs["refused"]` has their number, the reason and the
    first of them. Raises InputError for an unknown field, an invalid value, and a grid without a valid combination;
    MissingExtraError without pandas.
    """
    require_pandas()
    import pandas as pd

    work = {"batch": batch, "seq": seq, "past": past, "source_seq": source_seq}
    result = arrays(source, grid, changes=changes, work=work, dtype=dtype, figures=figures)
    if not len(result.places):
        reason = result.refusals[0].reason
        raise InputError(msg("no combination is left; the first is refused: {reason}", reason=reason), where="grid")
    frame = pd.DataFrame(result.columns(), copy=False)
    frame.attrs["cells"] = math.prod(result.shape)
    frame.attrs["refused"] = plain(result.refusals)
    frame.attrs["kinds"] = dict(KINDS)
    return frame


def arrays(
    source: Source,
    grid: Grid,
    *,
    changes: Document | None = None,
    work: Mapping[str, int | None] | None = None,
    dtype: DtypeOrAuto = AUTO,
    figures: Sequence[str] | None = None,
    progress: Callable[[float], None] | None = None,
) -> SweepArrays:
    """Return the figures of `sweep` as arrays of int64, or of Python's integers where these are too small.

    `progress` is called with the share that is done.

    Raises MissingExtraError without numpy.
    """
    require_numpy()
    import numpy as np

    check_dtype(dtype)
    if not isinstance(source, Spec):
        check_source(source)
    axes = _axes(grid)
    shape = tuple(len(axis.values) for axis in axes)
    try:
        document = encode(source) if isinstance(source, Spec) else document_of(source)
        runner = Runner(document, changes or {}, axes, work or {}, dtype)
        todo, collector, refusals = np.ones(shape, bool), _Collector(shape, figures), list[Refusal]()
        while todo.any():
            path = Path(shape, tuple(map(int, np.unravel_index(int(np.argmax(todo)), shape))))
            values = runner.run(path)
            index, mask = path.cells()
            part = np.ix_(*index)
            assert (todo[part] >= mask).all(), "a cell takes one path"
            todo[part] &= ~mask
            if isinstance(values, InputError):
                first = {axis.field: axis.at(path) for axis in axes}
                refusals.append(Refusal(cells=int(np.count_nonzero(mask)), reason=joined("", [values]), first=first))
            else:
                collector.add(dict(_flat(values)), index, mask)
            if progress:
                progress(1 - int(np.count_nonzero(todo)) / todo.size)
    except InputError as error:
        raise error.within("" if isinstance(source, dict | Spec) else str(source)) from None
    return SweepArrays(axes, *collector.joined(), tuple(refusals))


def _axes(grid: Grid) -> tuple[Axis, ...]:
    axes = tuple(Axis(number, field, _values(field, grid[field])) for number, field in enumerate(grid))
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
    """Return the values of an axis; of an endless one, just enough to exceed the limit."""
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise InputError(msg("found {found}", found=shown(values)), where=field, allowed=msg("a list of values"))
    return tuple(map(_plain, islice(values, MAX_CELLS + 1)))


def _plain(value: Any) -> Any:
    """Return integers of numpy as Python's."""
    return operator.index(value) if hasattr(value, "__index__") and not isinstance(value, bool) else value


def _flat(figures: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield nested figures by their dotted names."""
    for key, value in figures.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


class _Collector:
    """Collects the figures of one path after another, in the cells of the path."""

    def __init__(self, shape: tuple[int, ...], selection: Sequence[str] | None) -> None:
        self._shape, self._selection = shape, selection
        self._places: list[Any] = []
        self._figures: dict[str, list[Any]] = {}

    def add(self, figures: Mapping[str, Any], index: tuple[Any, ...], mask: Any) -> None:
        """Add the figures of a path, in the cells at `mask` of the indices of the axes."""
        import numpy as np

        places: Any = np.ravel_multi_index(np.ix_(*index), self._shape)
        self._places.append(places[mask])
        for name in self._names(figures):
            self._figures.setdefault(name, []).append(_in_cells(figures[name], index, mask))

    def joined(self) -> tuple[Any, dict[str, Any]]:
        """Return all cells in the order of the grid, and their figures."""
        import numpy as np

        places = np.concatenate(self._places or [np.zeros(0, np.int64)])
        order = np.argsort(places, kind="stable")
        # Popping frees the parts of a figure once they are joined, which halves the peak memory.
        return places[order], {name: np.concatenate(self._figures.pop(name))[order] for name in list(self._figures)}

    def _names(self, figures: Mapping[str, Any]) -> Iterable[str]:
        """Return the names of the selected figures."""
        if self._selection is None:
            return figures
        for name in self._selection:
            if not any(_includes(name, figure) for figure in figures):
                raise InputError(
                    msg("no figure {name}{hint}", name=shown(name), hint=nearest(name, figures)),
                    where="figures",
                    allowed=", ".join(figures),
                )
        return [figure for figure in figures if any(_includes(name, figure) for name in self._selection)]


def _includes(name: str, figure: str) -> bool:
    """Return whether a name is that of a figure or of its group."""
    return f"{figure}.".startswith(f"{name}.")


def _in_cells(value: CellValues | int, index: tuple[Any, ...], mask: Any) -> Any:
    """Return the values of a figure in the cells of a path."""
    import numpy as np

    if isinstance(value, CellValues) and not isinstance(value.values, int):
        return np.broadcast_to(select(value.values, index), mask.shape)[mask]
    constant = int(value)
    return np.full(np.count_nonzero(mask), constant, np.int64 if INT64[0] <= constant <= INT64[1] else object)
