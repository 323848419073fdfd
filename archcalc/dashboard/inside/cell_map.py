"""A heat map in which a click chooses a cell, and the steps from cell to cell."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import streamlit as st

from archcalc.dashboard.session import choice, escape_markdown, is_dark, say
from archcalc.render.grid import Grid, Values
from archcalc.words import Message, joined, msg

_HTML: Final = (
    '<div class="frame"><div class="names"><canvas></canvas></div>'
    '<div class="area" tabindex="0" role="application"><canvas></canvas><div class="chosen"></div></div></div>'
)
# Of the numbers of a map, so many have a full color: a few cells far above the others would make all others pale.
_QUANTILE: Final = 0.98


def choose(
    grid: Grid, prefix: str, start: tuple[int, int], labels: Sequence[Sequence[str]] | None = None
) -> tuple[int, int]:
    """Draw the map and its steps, and return the row and the column of the chosen cell, at first `start`.

    The cell is in the URL as `{prefix}_row` and `{prefix}_column`. `labels` are drawn into the cells.
    """
    grid = say().within(grid)
    figure = _figure(grid, prefix)
    row, column = _steps(grid, prefix, start)
    numbers = sorted(abs(x) for line in grid.values[figure] for x in line if x is not None)
    data = {
        "title": grid.title,
        "rows": grid.rows,
        "columns": grid.columns,
        "values": [[None if x is None else float(f"{x:.4g}") for x in line] for line in grid.values[figure]],
        "labels": labels,
        "largest": (numbers[int(_QUANTILE * (len(numbers) - 1))] if numbers else 0.0) or 1.0,
        "row": row,
        "column": column,
        "none": say()(msg("not defined")),
        "isDark": is_dark(),
    }
    key = f"{prefix}_map"
    _component()(key=key, data=data, on_cell_change=lambda: _clicked(key, prefix))
    return row, column


@cache
def _component() -> Any:
    script, style = (Path(__file__).with_name(f"cell_map.{suffix}").read_text("utf-8") for suffix in ("js", "css"))
    return st.components.v2.component("archcalc.cell_map", html=_HTML, css=style, js=script)


def _figure(grid: Grid, prefix: str) -> str:
    """Draw the choice of the figure that colors the cells, if there are several."""
    if len(grid.values) == 1:
        return next(iter(grid.values))
    names: dict[str, Message] = {figure: joined("", [grid.names.get(figure, figure)]) for figure in grid.values}
    return choice(st.segmented_control, say()(msg("Color")), names, key=f"{prefix}_figure")


def _steps(grid: Grid, prefix: str, start: tuple[int, int]) -> tuple[int, int]:
    """Draw the sliders of row and column with buttons beside them."""
    left, right = st.columns(2)
    with left:
        row = step(str(grid.row_title), f"{prefix}_row", grid.rows, start[0])
    with right:
        column = step(str(grid.column_title), f"{prefix}_column", tuple(map(str, grid.columns)), start[1])
    return row, column


def step(title: str, key: str, names: Sequence[str], start: int) -> int:
    """Draw a slider over named items with buttons to the previous and the next one; return the index of the chosen."""
    last = len(names) - 1
    if not last:
        return 0
    if not 0 <= st.session_state.get(key, 0) <= last:
        st.session_state[key] = start  # of a longer text
    index = int(st.slider(title, 0, last, start, key=key, bind="query-params"))
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(escape_markdown(names[index]))
        _button("back", key, msg("Previous"), -1, disabled=index == 0)
        _button("next", key, msg("Next"), 1, disabled=index == last)
    return index


def _button(name: str, key: str, label: Message, offset: int, *, disabled: bool) -> None:
    st.button(say()(label), key=f"{key}_{name}", type="tertiary", on_click=_move, args=(key, offset), disabled=disabled)


def _move(key: str, offset: int) -> None:
    st.session_state[key] += offset


def _clicked(key: str, prefix: str) -> None:
    """Choose the cell that was clicked; a single row or column has no slider."""
    for name, index in zip(("row", "column"), st.session_state[key]["cell"], strict=True):
        if f"{prefix}_{name}" in st.session_state:
            st.session_state[f"{prefix}_{name}"] = int(index)


def columns_of(values: Sequence[Sequence[float | None]]) -> Values:
    """Return rows of one length, the short ones filled with cells that have no value."""
    width = max(map(len, values))
    return tuple((*row, *[None] * (width - len(row))) for row in values)
