"""A sweep as a result. Its rows stay arrays; a row becomes a dict when it is read."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from archcalc.analysis.report import KINDS
from archcalc.analysis.sweep.grid import Refusal, SweepArrays
from archcalc.results import Result, Row, Sureness, count, data, text
from archcalc.words import msg

# Rows that become dicts at once.
_CHUNK = 4096


class SweepColumn(Row, frozen=True, kw_only=True):
    """A column of a sweep's rows: a swept field, or a figure by its place in the report ('params.total')."""

    name: Annotated[str, text(msg("name"))]
    what: Annotated[Literal["field", "figure"], data(msg("swept field or figure"))]
    kind: Annotated[Sureness | None, data(msg("exact, measured or modeled"))]


class Sweep(Result, frozen=True, kw_only=True):
    """The figures of every combination of field values that is a valid model, a row each."""

    source: Annotated[str, data(msg("source of the model"))]
    over: Annotated[dict[str, list[Any]], data(msg("values of each swept field"))]
    cells: Annotated[int, count(msg("combinations"))]
    refused: Annotated[tuple[Refusal, ...], data(msg("combinations left out, by reason"))]
    columns: Annotated[tuple[SweepColumn, ...], data(msg("columns of the rows"))]
    rows: Annotated[Sequence[dict[str, Any]], data(msg("the value of each column by its name"))]


def sweep_result(source: str, arrays: SweepArrays) -> Sweep:
    """Return the result of a sweep over a source."""
    fields = (SweepColumn(name=axis.field, what="field", kind=None) for axis in arrays.axes)
    figures = (SweepColumn(name=name, what="figure", kind=_kind(name)) for name in arrays.figures)
    return Sweep(
        source=source,
        over={axis.field: list(axis.values) for axis in arrays.axes},
        cells=math.prod(arrays.shape),
        refused=arrays.refusals,
        columns=(*fields, *figures),
        rows=ArrayRows(arrays.columns()),
    )


def _kind(figure: str) -> Any:
    return KINDS.get(figure) or KINDS[figure.partition(".")[0]]


class ArrayRows(Sequence[dict[str, Any]]):
    """Named arrays of one length as rows, each a dict of Python values."""

    def __init__(self, arrays: Mapping[str, Any]) -> None:
        self._arrays = arrays

    def __len__(self) -> int:
        return len(next(iter(self._arrays.values())))

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            values = zip(*(array[index].tolist() for array in self._arrays.values()), strict=True)
            return [dict(zip(self._arrays, row, strict=True)) for row in values]
        return self[index : index + 1][0] if index >= 0 else self[index:][0]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for start in range(0, len(self), _CHUNK):
            yield from self[start : start + _CHUNK]
