"""Grids as heat maps, one below another: blue above zero, orange below."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from archcalc.render.charts.frame import CONFIG, FRAME, title
from archcalc.render.grid import Grid
from archcalc.words import Message

CELL_HEIGHT: Final = 14
COLORS: Final = ("#D55E00", "#FFFFFF", "#0072B2")


def chart(heading: str | Message, notes: Sequence[str | Message], grids: Sequence[Grid], figure: str) -> dict[str, Any]:
    """Return the Vega-Lite chart of one figure of each grid, whose columns are in the reader's language."""
    return {
        "$schema": FRAME["$schema"],
        "padding": FRAME["padding"],
        "background": FRAME["background"],
        "usermeta": FRAME["usermeta"],
        "config": CONFIG,
        "title": title(heading, notes),
        "vconcat": [_heat_map(grid, figure) for grid in grids],
        "resolve": {"scale": {"x": "independent", "y": "independent", "color": "independent"}},
    }


def _heat_map(grid: Grid, figure: str) -> dict[str, Any]:
    rows = list(zip(range(len(grid.rows)), grid.rows, grid.values[figure], strict=True))
    values = [
        {"x": x, "y": y, "row": row, "column": column, "value": value}
        for y, row, numbers in rows
        for x, (column, value) in enumerate(zip(grid.columns, numbers, strict=True))
        if value is not None
    ]
    numbers = [number for row in grid.values[figure] for number in row if number is not None]
    largest = max(map(abs, numbers), default=0.0) or 1.0
    return {
        "title": {"text": grid.title, "anchor": "start"},
        "width": FRAME["width"],
        "height": CELL_HEIGHT * len(grid.rows),
        "data": {"values": values},
        "mark": {"type": "rect", "stroke": "#EEEEEE", "strokeWidth": 0.5},
        "encoding": {
            "x": _axis("x", grid.column_title, grid.columns, "top"),
            "y": _axis("y", grid.row_title, grid.rows, "left"),
            "color": {
                "field": "value",
                "type": "quantitative",
                "title": grid.names.get(figure, figure),
                "scale": {"domain": [-largest, 0, largest], "range": list(COLORS)},
            },
            "tooltip": [
                {"field": "row", "title": grid.row_title},
                {"field": "column", "title": grid.column_title},
                {"field": "value", "title": grid.names.get(figure, figure), "format": ".4f"},
            ],
        },
    }


def _axis(field: str, heading: str | Message, names: Sequence[str | Message], orient: str) -> dict[str, Any]:
    """Return an axis by position, so that equal names stay apart."""
    axis = {
        "orient": orient,
        "labelExpr": f"{json.dumps(list(map(str, names)), ensure_ascii=False)}[datum.value]",
        "labelAngle": -45 if orient == "top" else 0,
        "labelAlign": "left" if orient == "top" else "right",
        "labelOverlap": True,
        "ticks": False,
        "domain": False,
    }
    return {"field": field, "type": "ordinal", "title": heading, "axis": axis}
