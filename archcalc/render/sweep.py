"""A grid of models, a row each."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from archcalc.analysis.report import KINDS
from archcalc.analysis.sweep.grid import Swept
from archcalc.errors import InputError
from archcalc.render.output import Format
from archcalc.render.page import Block, Column, Page, Table, Text
from archcalc.words import Message, msg

# What fits beside the fields in a table; CSV and JSON have every figure.
SHOWN = ("params.total", "params.active", "flops.forward", "memory.weights_bytes", "memory.kv_cache_bytes")

# Rows that each format is read with.
MOST_ROWS: dict[Format, int] = {"table": 2_000, "md": 2_000, "html": 2_000, "json": 100_000}


def wanted(form: Format) -> Sequence[str] | None:
    """The figures that a format shows unless asked for others; None for all."""
    return None if form in ("csv", "json") else SHOWN


def check(found: Swept, form: Format) -> None:
    """Raises InputError where there is no row, or more than the format is good for."""
    if not len(found.cells):
        raise InputError(
            msg("no combination is left; the first is refused: {reason}", reason=found.refused[0].reason), where="over"
        )
    if (most := MOST_ROWS.get(form)) and len(found.cells) > most:
        raise InputError(
            msg("{n_cells:,} rows", n_cells=len(found.cells)),
            where=f"format {form}",
            allowed=msg("up to {most:,}, or `format` csv for all", most=most),
        )


def page(source: str, found: Swept) -> Page:
    """A table with a row for each combination, and how many were left out."""
    columns = {**found.fields(), **found.figures}
    fields = [Column(axis.field, "count" if axis.is_whole else "text") for axis in found.axes]
    table = Table("", (*fields, *(Column(name, "count") for name in found.figures)), Rows(columns))
    blocks: list[Block] = [table]
    if lines := left_out(found):
        blocks.append(Text(msg("Left out"), lines))
    over = " × ".join(axis.field for axis in found.axes)
    return Page(
        msg("{source} over {over}", source=source, over=over),
        msg("{n:,} of {total:,} combinations; every figure is exact", n=len(found.cells), total=math.prod(found.shape)),
        blocks,
    )


def left_out(found: Swept) -> list[Message]:
    """A line for each reason to refuse combinations."""
    return [
        msg(
            "{n:,} left out, the first at {fields}: {reason}",
            n=each.cells,
            fields=_said(each.first),
            reason=each.error,
        )
        for each in sorted(found.refused, key=lambda each: -each.cells)
    ]


def data(source: str, found: Swept) -> dict[str, Any]:
    """The same as plain data."""
    columns = {**found.fields(), **found.figures}
    return {
        "schema": 1,
        "source": source,
        "over": {axis.field: list(axis.values) for axis in found.axes},
        "cells": math.prod(found.shape),
        "refused": [{"cells": e.cells, "reason": e.reason, "first": e.first} for e in found.refused],
        "kinds": dict(KINDS),
        "rows": [dict(zip(columns, row, strict=True)) for row in Rows(columns)],
    }


class Rows(Sequence[Sequence[Any]]):
    """Arrays side by side as rows of plain values, some at a time."""

    def __init__(self, columns: dict[str, Any]) -> None:
        self._columns = list(columns.values())

    def __len__(self) -> int:
        return len(self._columns[0])

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return list(zip(*(column[index].tolist() for column in self._columns), strict=True))
        return self[index : index + 1][0] if index >= 0 else self[index:][0]

    def __iter__(self) -> Iterator[Sequence[Any]]:
        for start in range(0, len(self), 4096):
            yield from self[start : start + 4096]


def _said(first: dict[str, Any]) -> str:
    return ", ".join(f"{field}={value}" for field, value in first.items())
