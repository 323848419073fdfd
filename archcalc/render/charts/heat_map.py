"""A matrix as a heat map: blue above zero, orange below, hatched where a mask hides a cell."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from archcalc.render.charts.frame import FAINT, FRAME, INK, title

ABOVE, BELOW = "#0072B2", "#D55E00"

# Pixels of a row with numbers and without, and the most columns and rows with numbers.
TALL, LOW, MAX_COLUMNS, MAX_ROWS = 34, 16, 16, 16
# Pixels of the narrowest cell with a number.
MIN_CELL_WIDTH: Final = 38
# Numbers stay readable on the strongest color.
MAX_OPACITY: Final = 0.65

Cell = float | None


class Matrix(msgspec.Struct, frozen=True, kw_only=True):
    """Values by named rows and columns; a masked cell is None and has the text `mask_label`.

    `here` is the framed row. `are_indices`: values are ids or indices, which get no color. `is_small`: numbers are in
    tooltips only.
    """

    title: str
    notes: tuple[str, ...] = ()
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: tuple[tuple[Cell, ...], ...]
    row_title: str = ""
    column_title: str = ""
    mask_label: str = ""
    here: int | None = None
    are_indices: bool = False
    is_small: bool = False

    @property
    def has_numbers(self) -> bool:
        """Whether cells are large enough for numbers."""
        return not self.is_small and len(self.columns) <= MAX_COLUMNS and len(self.rows) <= MAX_ROWS


def heat_map(matrix: Matrix) -> dict[str, Any]:
    """Return the Vega-Lite chart; a cell is one by one, the first row is on top."""
    height = (TALL if matrix.has_numbers else LOW) * len(matrix.rows)
    layers = [_cells(matrix), *_hatching(matrix)]
    layers += [_numbers(matrix)] if matrix.has_numbers else []
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


def _axis(field: str, names: Sequence[str], heading: str) -> dict[str, Any]:
    scale: dict[str, Any] = {"domain": [0, len(names)], "nice": False, "zero": False, "reverse": field == "y"}
    axis = {
        "values": [i + 0.5 for i in range(len(names))],
        "labelExpr": f"{json.dumps(list(names), ensure_ascii=False)}[floor(datum.value)]",
        "grid": False,
        "ticks": False,
        "domain": False,
        "labelOverlap": "parity",
        "labelLimit": 90,
        "orient": "top" if field == "x" else "left",
    }
    return {"field": field, "type": "quantitative", "title": heading or None, "scale": scale, "axis": axis}


def _items(matrix: Matrix) -> Iterator[tuple[int, int, Cell]]:
    for y, row in enumerate(matrix.values):
        for x, value in enumerate(row):
            yield x, y, value


def _cells(matrix: Matrix) -> dict[str, Any]:
    """Return the visible cells: the sign is the color, the size its opacity."""
    visible = [(x, y, value) for x, y, value in _items(matrix) if value is not None]
    largest = max((abs(value) for *_, value in visible), default=0.0) or 1.0
    values = [_corners(matrix, x, y) | {"value": value, "share": abs(value) / largest} for x, y, value in visible]
    opacity_scale = {"field": "share", "type": "quantitative", "scale": {"domain": [0, 1], "range": [0, MAX_OPACITY]}}
    color = {"condition": {"test": "datum.value < 0", "value": BELOW}, "value": ABOVE}
    opacity = {"value": 0} if matrix.are_indices else opacity_scale | {"legend": None}
    number = {"field": "value", "type": "quantitative", "title": "=", "format": "d" if matrix.are_indices else ".6g"}
    encoding = {"fillOpacity": opacity, "color": color, "tooltip": [*_cell_names(matrix), number]}
    return {"data": {"values": values}, "mark": _AREA, "encoding": _FAR_CORNER | encoding}


_AREA: Final = {"type": "rect", "stroke": "#BBBBBB", "strokeWidth": 0.5, "strokeOpacity": 0.5}
_FAR_CORNER: Final = {"x2": {"field": "x2"}, "y2": {"field": "y2"}}


def _corners(matrix: Matrix, x: int, y: int) -> dict[str, Any]:
    return {"x": x, "y": y, "x2": x + 1, "y2": y + 1, "row": matrix.rows[y], "column": matrix.columns[x]}


def _cell_names(matrix: Matrix) -> list[dict[str, Any]]:
    """Return the lines of a tooltip that name the row and the column."""
    headings = {"row": matrix.row_title, "column": matrix.column_title}
    return [{"field": field, "type": "nominal", "title": heading or " "} for field, heading in headings.items()]


def _hatching(matrix: Matrix) -> list[dict[str, Any]]:
    """Return gray areas with diagonal lines for the masked cells."""
    masked = [(x, y) for x, y, value in _items(matrix) if value is None]
    if not masked:
        return []
    areas = [_corners(matrix, x, y) | {"text": matrix.mask_label} for x, y in masked]
    label = {"field": "text", "type": "nominal", "title": "="}
    lines = [
        {"x": x + a, "y": y + b, "x2": x + c, "y2": y + d}
        for x, y in masked
        for a, b, c, d in (_HATCHES if matrix.has_numbers else _HATCHES[:1])
    ]
    rule = {"type": "rule", "color": FAINT, "strokeWidth": 0.8, "opacity": 0.45, "tooltip": False}
    return [
        {
            "data": {"values": areas},
            "mark": _AREA | {"color": FAINT, "fillOpacity": 0.22},
            "encoding": _FAR_CORNER | {"tooltip": [*_cell_names(matrix), label]},
        },
        {"data": {"values": lines}, "mark": rule, "encoding": _FAR_CORNER},
    ]


# Diagonal lines of a cell, from lower left to upper right.
_HATCHES: Final = ((0, 1, 1, 0), (0, 0.5, 0.5, 0), (0.5, 1, 1, 0.5))


def _numbers(matrix: Matrix) -> dict[str, Any]:
    """Return the numbers and the labels of masked cells, in a size that fits the cells."""
    values = [{"x": x + 0.5, "y": y + 0.5, "text": _cell_text(matrix, value)} for x, y, value in _items(matrix)]
    cell_width = f"(width / {len(matrix.columns)})"
    mark = {
        "type": "text",
        "color": INK,
        "fontSize": {"expr": f"clamp({cell_width} / 4.4, 9, 13)"},
        "opacity": {"expr": f"{cell_width} < {MIN_CELL_WIDTH} ? 0 : 1"},
        "tooltip": False,
    }
    return {"data": {"values": values}, "mark": mark, "encoding": {"text": {"field": "text", "type": "nominal"}}}


def _cell_text(matrix: Matrix, value: Cell) -> str:
    if value is None:
        return matrix.mask_label
    return str(int(value)) if matrix.are_indices else f"{round(value, 3) + 0.0:.3f}".replace("-", "−")


def _frame(matrix: Matrix, row: int) -> dict[str, Any]:
    """Return a frame around a row."""
    corners = {"x": 0, "x2": len(matrix.columns), "y": row, "y2": row + 1}
    mark = {"type": "rect", "fillOpacity": 0, "stroke": INK, "strokeWidth": 1.5, "tooltip": False}
    return {"data": {"values": [corners]}, "mark": mark, "encoding": _FAR_CORNER}
