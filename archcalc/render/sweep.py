"""A sweep as a page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from archcalc.analysis.sweep.result import Sweep, SweepColumn
from archcalc.errors import InputError
from archcalc.render.output import Format
from archcalc.render.page import Block, Column, Page, Records, Table, Text
from archcalc.words import Message, msg

# The figures that fit beside the fields in a table; CSV and JSON have all.
DEFAULT_FIGURES = ("params.total", "params.active", "flops.forward", "memory.weights_bytes", "memory.kv_cache_bytes")

MAX_ROWS: dict[Format, int] = {"table": 2_000, "md": 2_000, "html": 2_000, "json": 100_000}


def default_figures(form: Format) -> Sequence[str] | None:
    """Return the figures that a format shows by default; None for all."""
    return None if form in ("csv", "json") else DEFAULT_FIGURES


def check_rows(result: Sweep, form: Format) -> None:
    """Raise InputError if there is no row, or more rows than the format supports."""
    if not len(result.rows):
        raise InputError(
            msg("no combination is left; the first is refused: {reason}", reason=result.refused[0].reason), where="over"
        )
    if (most := MAX_ROWS.get(form)) and len(result.rows) > most:
        raise InputError(
            msg("{n_cells:,} rows", n_cells=len(result.rows)),
            where=f"format {form}",
            allowed=msg("up to {most:,}, or `format` csv for all", most=most),
        )


def view(result: Sweep, options: None = None) -> Page:
    """Return the page with a row for each combination, and how many were left out."""
    records = Records([column.name for column in result.columns], result.rows)
    columns = tuple(_column(column, result) for column in result.columns)
    blocks: list[Block] = [Table("", columns, _Cells(result.rows), records=records)]
    if lines := refusal_lines(result):
        blocks.append(Text(msg("Left out"), lines))
    return Page(
        msg("{source} over {over}", source=result.source, over=" × ".join(result.over)),
        msg("{n:,} of {total:,} combinations; every figure is exact", n=len(result.rows), total=result.cells),
        blocks,
    )


class _Cells(Sequence[tuple[Any, ...]]):
    """Rows as tuples of cells, created when they are read: CSV reads none."""

    def __init__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        rows = self._rows[index]
        return [tuple(row.values()) for row in rows] if isinstance(index, slice) else tuple(rows.values())

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return (tuple(row.values()) for row in self._rows)


def _column(column: SweepColumn, result: Sweep) -> Column:
    is_whole = all(type(value) is int for value in result.over.get(column.name, ()))
    return Column(column.name, "count" if is_whole else "text")


def refusal_lines(result: Sweep) -> list[Message]:
    """Return a line for each reason to leave out combinations, the most frequent first."""
    return [
        msg(
            "{n:,} left out, the first at {fields}: {reason}",
            n=refusal.cells,
            fields=_fields_text(refusal.first),
            reason=refusal.reason,
        )
        for refusal in sorted(result.refused, key=lambda refusal: -refusal.cells)
    ]


def _fields_text(fields: Mapping[str, Any]) -> str:
    return ", ".join(f"{field}={value}" for field, value in fields.items())
