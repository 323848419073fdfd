"""A report of many cells of a grid at once: spec and workload have `CellValues` where an axis sets a size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import msgspec
from msgspec import structs

from archcalc.analysis.memory import AUTO, DtypeOrAuto
from archcalc.analysis.report import Figures, figures
from archcalc.analysis.stored_weights import cache_dtype_of, stored_weights
from archcalc.analysis.sweep.cell_values import INT64, CellValues, Path
from archcalc.analysis.weight_bytes import stored_bytes
from archcalc.errors import InputError
from archcalc.formats.element_types import element_bytes
from archcalc.ledger.build import build
from archcalc.ledger.rows import Ledger, WeightRow
from archcalc.spec import Spec
from archcalc.spec.document import Document, convert, override
from archcalc.spec.resolve import resolve
from archcalc.spec.workload import MINIMUM_SIZES, Workload, check_size, fill_workload


class Axis(msgspec.Struct, frozen=True, eq=False):
    """A field and its values along an axis of the grid."""

    number: int
    field: str
    values: tuple[Any, ...]

    @property
    def is_whole(self) -> bool:
        """Return whether all values are integers."""
        return all(type(value) is int for value in self.values)

    @property
    def array(self) -> Any:
        """Return the values as an array, of int64 if they fit."""
        import numpy as np

        if self.is_whole and all(INT64[0] <= value <= INT64[1] for value in self.values):
            return np.array(self.values, np.int64)
        array = np.empty(len(self.values), object)
        array[:] = self.values  # one by one: a value may be a list
        return array

    def at(self, path: Path) -> Any:
        """Return the value in the representative cell of the path."""
        return self.values[path.cell[self.number]]


class Template(msgspec.Struct, frozen=True):
    """A document of a spec with axes in place of the values they set. `size_axes` are those that set only sizes."""

    document: Document
    size_axes: frozenset[Axis]


class Runner:
    """Computes the figures of a report in the cells of a path.

    An axis of sizes has values for all cells. For any other axis (an activation, a factor), each value has its own
    paths. Every value is checked against its field when a path that may reach it is run.
    """

    def __init__(
        self,
        document: Document,
        changes: Document,
        axes: tuple[Axis, ...],
        work: Mapping[str, Any],
        dtype: DtypeOrAuto,
    ) -> None:
        self._document, self._changes, self._axes, self._dtype = document, changes, axes, dtype
        self._work = {"batch": 1, "seq": None, "past": 0, "source_seq": None, **work}
        for name, value in self._work.items():
            check_size(name, value)
        for axis in axes:
            for value in axis.values if axis.field in MINIMUM_SIZES else ():
                check_size(axis.field, value)
        self._templates: dict[tuple[int, ...], Template] = {}

    def run(self, path: Path) -> Figures | InputError:
        """Return the figures of the cells on this path, or why they are refused."""
        template = self._template(path)
        size_axes = {
            axis for axis in self._axes if axis in template.size_axes or (axis.field in MINIMUM_SIZES and axis.is_whole)
        }
        representative = convert(_fill(template.document, {axis: axis.at(path) for axis in self._axes}))
        if self._is_quantized(representative):  # tensors are stored one by one: each model has its own path
            size_axes = {axis for axis in size_axes if axis.field in MINIMUM_SIZES}
        for axis in self._axes:
            if axis not in size_axes:
                path.fix_axis(axis.number)
        values = {
            axis: path.along_axis(axis.number, axis.array) if axis in size_axes else axis.at(path)
            for axis in self._axes
        }
        sizes = self._work | {axis.field: value for axis, value in values.items() if axis.field in MINIMUM_SIZES}
        try:
            spec = resolve(_with_cell_values(representative, template.document, values, path))
            work, ledger = fill_workload(spec, **sizes), build(spec)
            rows, tied = (tuple(map(_row_of_cells, rows)) for rows in (ledger.rows, ledger.tied))
            return self._figures(structs.replace(ledger, rows=rows, tied=tied), work, representative)
        except InputError as error:
            return error

    def _is_quantized(self, spec: Spec) -> bool:
        return self._dtype == AUTO and bool(spec.about.storage.formats)

    def _figures(self, ledger: Ledger, work: Workload, representative: Spec) -> Figures:
        if self._dtype != AUTO:
            return figures(ledger, work, self._dtype)
        if self._is_quantized(representative):
            spec = resolve(representative)
            weights_bytes = stored_bytes(stored_weights(spec, build(spec)))
        else:
            weights_bytes = ledger.total() * element_bytes(representative.about.storage.dtype)
        return figures(ledger, work, cache_dtype_of(representative), weights_bytes)

    def _template(self, path: Path) -> Template:
        """Return the template of the path: there is one for each combination of values that are not integers."""
        axes = [axis for axis in self._axes if axis.field not in MINIMUM_SIZES]
        key = tuple(path.cell[axis.number] for axis in axes if not axis.is_whole)
        if key not in self._templates:
            marks = {axis.field: axis if axis.is_whole else axis.at(path) for axis in axes}
            document = override(self._document, self._changes | marks)
            self._templates[key] = Template(document, frozenset(_sizes(document, axes)))
        return self._templates[key]


def _sizes(document: Document, axes: list[Axis]) -> Iterator[Axis]:
    """Yield the axes that set only integers. Raises InputError for a value that is invalid for its field."""
    first = {axis: axis.values[0] for axis in axes}
    spec = convert(_fill(document, first))
    for axis in axes:
        if axis.is_whole:
            for value in axis.values[1:]:
                convert(_fill(document, first | {axis: value}))
            if all(type(value) is int for value in _places(spec, document, axis)):
                yield axis


def _fill(document: Any, values: Mapping[Axis, Any]) -> Any:
    """Return the document with values in place of axes."""
    if isinstance(document, Axis):
        return values[document]
    if isinstance(document, dict):
        return {key: _fill(value, values) for key, value in document.items()}
    return [_fill(value, values) for value in document] if isinstance(document, list) else document


def _inner(part: Any, document: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield the fields of a part: name, value, and entry of the document (None if left out)."""
    for field in part.__struct_fields__:
        yield field, getattr(part, field), document.get(field) if isinstance(document, dict) else None


def _with_cell_values(value: Any, document: Any, values: Mapping[Axis, Any], path: Path) -> Any:
    """Return a value of a spec with every integer as `CellValues`: those of the document's axis, else a constant."""
    if isinstance(document, Axis) and isinstance(values[document], CellValues):
        return values[document]
    if type(value) is int:
        return path.constant(value)
    if isinstance(value, msgspec.Struct):
        inner = {name: _with_cell_values(v, mark, values, path) for name, v, mark in _inner(value, document)}
        return structs.replace(value, **inner)
    if isinstance(value, tuple):
        marks = document if isinstance(document, list) else [None] * len(value)
        return tuple(_with_cell_values(v, mark, values, path) for v, mark in zip(value, marks, strict=True))
    return value


def _places(value: Any, document: Any, axis: Axis) -> Iterator[Any]:
    """Yield the values of a spec wherever the document has this axis."""
    if document is axis:
        yield value
    elif isinstance(value, msgspec.Struct):
        for _, inner, mark in _inner(value, document):
            yield from _places(inner, mark, axis)
    elif isinstance(value, tuple) and isinstance(document, list):
        for inner, mark in zip(value, document, strict=True):
            yield from _places(inner, mark, axis)


class _CellsRow(WeightRow, frozen=True):
    """A row whose totals are the values of its formulas, since `WeightRow.shape` has plain ints."""

    @cached_property
    def total(self) -> int:
        """Return the elements over all layers."""
        return self.formula.at(self.sizes)  # type: ignore[no-any-return]

    @cached_property
    def active(self) -> int:
        """Return the elements over all layers that one token uses."""
        return self.active_formula.at(self.sizes)  # type: ignore[no-any-return]


def _row_of_cells(row: WeightRow) -> WeightRow:
    return _CellsRow(row.path, row.weight, row.group, row.indices, row.repeats, row.sizes)
