"""A matrix as a heat map: blue above zero, orange below, hatched where a mask hides a cell."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from archcalc.render.charts.frame import FAINT, FRAME, INK, title

ABOVE, BELOW = "#0072B2", "#D55E00"

# Cells with numbers, and without them: their heights, and up to how many columns and rows numbers are written.
TALL, LOW, MOST_COLUMNS, MOST_ROWS = 34, 16, 16, 16
# Pixels that a number takes: in narrower cells none is written.
ROOM: Final = 38
# The strongest colour still lets a number be read.
STRONGEST: Final = 0.65

Cell = float | None


class Matrix(msgspec.Struct, frozen=True, kw_only=True):
    """Values by named rows and columns; None where a mask hides the cell, which `hidden` says in a word.

    `here` is the row that is looked at. Of `are_numbers`, which name something, colours would say nothing. Drawn
    `is_small`, numbers are left to its tooltips.
    """

    title: str
    notes: tuple[str, ...] = ()
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: tuple[tuple[Cell, ...], ...]
    row_title: str = ""
    column_title: str = ""
    hidden: str = ""
    here: int | None = None
    are_numbers: bool = False
    is_small: bool = False

    @property
    def is_written(self) -> bool:
        """Whether there is room for the numbers."""
        return not self.is_small and len(self.columns) <= MOST_COLUMNS and len(self.rows) <= MOST_ROWS


def heat_map(matrix: Matrix) -> dict[str, Any]:
    """The Vega-Lite chart: a cell is one by one, the first row on top."""
    height = (TALL if matrix.is_written else LOW) * len(matrix.rows)
    layers = [_cells(matrix), *_hatched(matrix)]
    layers += [_words(matrix)] if matrix.is_written else []
    layers += [_frame(matrix, matrix.here)] if matrix.here is not None and len(matrix.rows) > 1 else []
    return {
        **FRAME,
        "height": height,
        "title": title(matrix.title, list(matrix.notes)),
        "encoding": {
            "x": _axis("x", matrix.columns, matrix.column_title),
            "y": _axis("y", matrix.rows, matrix.row_title),
        },
        "layer": layers,
    }


def _axis(way: str, names: Sequence[str], called: str) -> dict[str, Any]:
    scale: dict[str, Any] = {"domain": [0, len(names)], "nice": False, "zero": False, "reverse": way == "y"}
    axis = {
        "values": [i + 0.5 for i in range(len(names))],
        "labelExpr": f"{json.dumps(list(names), ensure_ascii=False)}[floor(datum.value)]",
        "grid": False,
        "ticks": False,
        "domain": False,
        "labelOverlap": "parity",
        "labelLimit": 90,
        "orient": "top" if way == "x" else "left",
    }
    return {"field": way, "type": "quantitative", "title": called or None, "scale": scale, "axis": axis}


def _each(matrix: Matrix) -> Iterator[tuple[int, int, Cell]]:
    for y, row in enumerate(matrix.values):
        for x, value in enumerate(row):
            yield x, y, value


def _cells(matrix: Matrix) -> dict[str, Any]:
    """Each visible cell's area: the sign by colour, the size by its strength."""
    seen = [(x, y, value) for x, y, value in _each(matrix) if value is not None]
    largest = max((abs(value) for *_, value in seen), default=0.0) or 1.0
    values = [_at(matrix, x, y) | {"value": value, "share": abs(value) / largest} for x, y, value in seen]
    strength = {"field": "share", "type": "quantitative", "scale": {"domain": [0, 1], "range": [0, STRONGEST]}}
    color = {"condition": {"test": "datum.value < 0", "value": BELOW}, "value": ABOVE}
    opacity = {"value": 0} if matrix.are_numbers else strength | {"legend": None}
    own = {"field": "value", "type": "quantitative", "title": "=", "format": "d" if matrix.are_numbers else ".6g"}
    encoding = {"fillOpacity": opacity, "color": color, "tooltip": [*_named(matrix), own]}
    return {"data": {"values": values}, "mark": _AREA, "encoding": _TO | encoding}


_AREA: Final = {"type": "rect", "stroke": "#BBBBBB", "strokeWidth": 0.5, "strokeOpacity": 0.5}
_TO: Final = {"x2": {"field": "x2"}, "y2": {"field": "y2"}}


def _at(matrix: Matrix, x: int, y: int) -> dict[str, Any]:
    return {"x": x, "y": y, "x2": x + 1, "y2": y + 1, "row": matrix.rows[y], "column": matrix.columns[x]}


def _named(matrix: Matrix) -> list[dict[str, Any]]:
    """A tooltip's lines that say which cell this is."""
    of = {"row": matrix.row_title, "column": matrix.column_title}
    return [{"field": field, "type": "nominal", "title": said or " "} for field, said in of.items()]


def _hatched(matrix: Matrix) -> list[dict[str, Any]]:
    """Grey, and lines across, for every hidden cell."""
    hidden = [(x, y) for x, y, value in _each(matrix) if value is None]
    if not hidden:
        return []
    areas = [_at(matrix, x, y) | {"said": matrix.hidden} for x, y in hidden]
    said = {"field": "said", "type": "nominal", "title": "="}
    lines = [
        {"x": x + a, "y": y + b, "x2": x + c, "y2": y + d}
        for x, y in hidden
        for a, b, c, d in (_HATCHES if matrix.is_written else _HATCHES[:1])
    ]
    rule = {"type": "rule", "color": FAINT, "strokeWidth": 0.8, "opacity": 0.45, "tooltip": False}
    return [
        {
            "data": {"values": areas},
            "mark": _AREA | {"color": FAINT, "fillOpacity": 0.22},
            "encoding": _TO | {"tooltip": [*_named(matrix), said]},
        },
        {"data": {"values": lines}, "mark": rule, "encoding": _TO},
    ]


# Lines across a cell, from lower left to upper right.
_HATCHES: Final = ((0, 1, 1, 0), (0, 0.5, 0.5, 0), (0.5, 1, 1, 0.5))


def _words(matrix: Matrix) -> dict[str, Any]:
    """The numbers, and the word for what is hidden, as large as a cell has room for."""
    values = [{"x": x + 0.5, "y": y + 0.5, "said": _said(matrix, value)} for x, y, value in _each(matrix)]
    wide = f"(width / {len(matrix.columns)})"
    mark = {
        "type": "text",
        "color": INK,
        "fontSize": {"expr": f"clamp({wide} / 4.4, 9, 13)"},
        "opacity": {"expr": f"{wide} < {ROOM} ? 0 : 1"},
        "tooltip": False,
    }
    return {"data": {"values": values}, "mark": mark, "encoding": {"text": {"field": "said", "type": "nominal"}}}


def _said(matrix: Matrix, value: Cell) -> str:
    if value is None:
        return matrix.hidden
    return str(int(value)) if matrix.are_numbers else f"{round(value, 3) + 0.0:.3f}".replace("-", "−")


def _frame(matrix: Matrix, row: int) -> dict[str, Any]:
    """A frame around the row that is looked at."""
    at = {"x": 0, "x2": len(matrix.columns), "y": row, "y2": row + 1}
    mark = {"type": "rect", "fillOpacity": 0, "stroke": INK, "strokeWidth": 1.5, "tooltip": False}
    return {"data": {"values": [at]}, "mark": mark, "encoding": _TO}
