"""A report run on many cells of a grid at once: the spec and the workload with `Varied` where an axis sets a size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import msgspec
from msgspec import structs

from archcalc.analysis.memory import Dtype
from archcalc.analysis.report import Figures, figures
from archcalc.analysis.sweep.cell_values import INT64, Path, Varied
from archcalc.errors import InputError
from archcalc.ledger.build import build
from archcalc.ledger.rows import WeightRow
from archcalc.spec.document import Document, convert, override
from archcalc.spec.resolve import resolve
from archcalc.spec.workload import MINIMUM_SIZES, check_size, fill_workload


class Axis(msgspec.Struct, frozen=True, eq=False):
    """A field and its values, along the axis of the grid at this place."""

    place: int
    field: str
    values: tuple[Any, ...]

    @property
    def is_whole(self) -> bool:
        """Whether all values are integers."""
        return all(type(value) is int for value in self.values)

    @property
    def array(self) -> Any:
        """The values as an array, of int64 if they are such integers."""
        import numpy as np

        if self.is_whole and all(INT64[0] <= value <= INT64[1] for value in self.values):
            return np.array(self.values, np.int64)
        found = np.empty(len(self.values), object)
        found[:] = self.values  # one by one: a value may be a list
        return found

    def at(self, path: Path) -> Any:
        """The value in the path's representative cell."""
        return self.values[path.cell[self.place]]


class Template(msgspec.Struct, frozen=True):
    """A spec's document with axes where they set a value. `varying` are those of them that set sizes alone."""

    document: Document
    varying: frozenset[Axis]


class Runner:
    """What a report says in the cells of a path.

    An axis of integers that are sizes makes them vary; of any other (an activation, a factor), each value has paths of
    its own. Every value is checked against its field when the path that may reach it is run.
    """

    def __init__(
        self, document: Document, changes: Document, axes: tuple[Axis, ...], work: Mapping[str, Any], dtype: Dtype
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
        """The figures of the cells that go this path, or why they are refused."""
        template = self._template(path)
        varying = {
            axis for axis in self._axes if axis in template.varying or (axis.field in MINIMUM_SIZES and axis.is_whole)
        }
        for axis in self._axes:
            if axis not in varying:
                path.stay(axis.place)
        numbers = {
            axis: path.along(axis.place, axis.array) if axis in varying else axis.at(path) for axis in self._axes
        }
        written = convert(_filled(template.document, {axis: axis.at(path) for axis in self._axes}))
        asked = self._work | {axis.field: number for axis, number in numbers.items() if axis.field in MINIMUM_SIZES}
        try:
            spec = resolve(_planted(written, template.document, numbers, path))
            work, ledger = fill_workload(spec, **asked), build(spec)
            rows, tied = (tuple(map(_varied, rows)) for rows in (ledger.rows, ledger.tied))
            return figures(structs.replace(ledger, rows=rows, tied=tied), work, self._dtype)
        except InputError as error:
            return error

    def _template(self, path: Path) -> Template:
        """The template of the path's cells: one for each combination of what is no integer."""
        axes = [axis for axis in self._axes if axis.field not in MINIMUM_SIZES]
        key = tuple(path.cell[axis.place] for axis in axes if not axis.is_whole)
        if key not in self._templates:
            marks = {axis.field: axis if axis.is_whole else axis.at(path) for axis in axes}
            document = override(self._document, self._changes | marks)
            self._templates[key] = Template(document, frozenset(_sizes(document, axes)))
        return self._templates[key]


def _sizes(document: Document, axes: list[Axis]) -> Iterator[Axis]:
    """The axes that set integers wherever they set anything. Raises InputError for a value that cannot stand there."""
    first = {axis: axis.values[0] for axis in axes}
    spec = convert(_filled(document, first))
    for axis in axes:
        if axis.is_whole:
            for value in axis.values[1:]:
                convert(_filled(document, first | {axis: value}))
            if all(type(value) is int for value in _places(spec, document, axis)):
                yield axis


def _filled(document: Any, values: Mapping[Axis, Any]) -> Any:
    """The document with values where axes stand."""
    if isinstance(document, Axis):
        return values[document]
    if isinstance(document, dict):
        return {key: _filled(value, values) for key, value in document.items()}
    return [_filled(value, values) for value in document] if isinstance(document, list) else document


def _inner(part: Any, document: Any) -> Iterator[tuple[str, Any, Any]]:
    """The fields of a part by name, each with what the document has there (None of what it leaves out)."""
    for field in part.__struct_fields__:
        yield field, getattr(part, field), document.get(field) if isinstance(document, dict) else None


def _planted(value: Any, document: Any, numbers: Mapping[Axis, Any], path: Path) -> Any:
    """A value of a spec, every integer in it a `Varied`: an axis's where the document has one, else a constant."""
    if isinstance(document, Axis) and isinstance(numbers[document], Varied):
        return numbers[document]
    if type(value) is int:
        return path.constant(value)
    if isinstance(value, msgspec.Struct):
        inner = {name: _planted(v, mark, numbers, path) for name, v, mark in _inner(value, document)}
        return structs.replace(value, **inner)
    if isinstance(value, tuple):
        marks = document if isinstance(document, list) else [None] * len(value)
        return tuple(_planted(v, mark, numbers, path) for v, mark in zip(value, marks, strict=True))
    return value


def _places(value: Any, document: Any, axis: Axis) -> Iterator[Any]:
    """What stands in a spec wherever the document has this axis."""
    if document is axis:
        yield value
    elif isinstance(value, msgspec.Struct):
        for _, inner, mark in _inner(value, document):
            yield from _places(inner, mark, axis)
    elif isinstance(value, tuple) and isinstance(document, list):
        for inner, mark in zip(value, document, strict=True):
            yield from _places(inner, mark, axis)


class _VariedRow(WeightRow, frozen=True):
    """A row whose totals are its formulas' values: `Row.shape` is made of plain ints."""

    @cached_property
    def total(self) -> int:
        """Elements over all layers."""
        return self.formula.at(self.sizes)  # type: ignore[no-any-return]

    @cached_property
    def active(self) -> int:
        """Elements over all layers that one token uses."""
        return self.active_formula.at(self.sizes)  # type: ignore[no-any-return]


def _varied(row: WeightRow) -> WeightRow:
    return _VariedRow(row.path, row.weight, row.group, row.indices, row.repeats, row.sizes)
