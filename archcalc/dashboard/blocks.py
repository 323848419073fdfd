"""Draw the pages of the command line block by block, each table with download buttons."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any, Final

import streamlit as st

from archcalc.dashboard.downloads import download_button, download_row
from archcalc.dashboard.session import escape_markdown, say
from archcalc.render.html import as_html, table_as_html
from archcalc.render.output import as_json
from archcalc.render.page import Block, Page, Picture, Table, Text, Treemap, cell_text
from archcalc.render.text import as_csv, as_markdown
from archcalc.results import plain
from archcalc.words import ENGLISH, msg

# Longer tables are data frames, which scroll and can be sorted and searched.
MAX_HTML_ROWS: Final = 60


def show(page: Page, *, name: str, data: Callable[[], Any] | None = None) -> None:
    """Draw every block of a page. `name` is the prefix of file names and widget keys.

    With `data`, the JSON of the command line, the whole page can be downloaded too, equal to the files of the command
    line.
    """
    for i, block in enumerate(page.blocks):
        _DRAWERS[type(block)](block, f"{name}_{i}" if i else name)
    if data:
        save_page(page, name=name, data=data)


def table(block: Table, name: str) -> None:
    """Draw a table with its title in the visitor's language, and download buttons for the files of the command line."""
    translated = say().within(block)
    _title(translated)
    if len(translated.rows) <= MAX_HTML_ROWS:
        st.html(table_as_html(translated))
    else:
        st.dataframe(_frame(translated), hide_index=True, height=480, key=f"frame_{name}")
        st.caption(say()(msg("{n} rows", n=f"{len(block.rows):,}")))
    with download_row(say()(msg("Save the table"))):
        download_button("CSV", lambda: as_csv(Page("", "", [block])).encode(), f"{name}.csv", "text/csv")
        download_button("JSON", lambda: as_json(records(block)).encode(), f"{name}.json", "application/json")


def save_page(page: Page, *, name: str, data: Callable[[], Any]) -> None:
    """Draw download buttons for the whole page, in the formats of the command line."""
    with download_row(say()(msg("Save the page"))):
        download_button("HTML", lambda: as_html(page).encode(), f"{name}.page.html", "text/html")
        download_button("JSON", lambda: as_json(data()).encode(), f"{name}.page.json", "application/json")
        download_button("CSV", lambda: as_csv(page).encode(), f"{name}.page.csv", "text/csv")
        download_button("Markdown", lambda: as_markdown(page).encode(), f"{name}.page.md", "text/markdown")


def records(block: Table) -> list[dict[str, Any]]:
    """Return the rows as CSV has them: by the names of their fields, or by heading in a table without records."""
    if block.records is not None:
        return [{name: plain(row.get(name)) for name in block.records.names} for row in block.records.rows]
    english = ENGLISH.within(block)
    columns = [(i, str(column.heading)) for i, column in enumerate(english.columns) if not column.is_derived]
    return [{heading: row[i] for i, heading in columns} for row in english.rows]


def _title(block: Block) -> None:
    if block.title:
        st.subheader(escape_markdown(str(block.title)), anchor=False)


def _text(block: Text, name: str) -> None:
    translated = say().within(block)
    _title(translated)
    st.html(f'<pre class="ac-lines">{escape(chr(10).join(map(str, translated.lines)))}</pre>')


def _skip(block: Treemap | Picture, name: str) -> None:
    """Skip charts and pictures: their pages draw them, interactive or in the theme's colors."""


_DRAWERS: Final[dict[type, Callable[[Any, str], None]]] = {
    Table: table,
    Text: _text,
    Treemap: _skip,
    Picture: _skip,
}


def _frame(block: Table) -> Any:
    """Return the cells as text, because a grid of floats would round long numbers."""
    import pandas as pd

    rows = [[cell_text(column, value) for column, value in zip(block.columns, row, strict=True)] for row in block.rows]
    return pd.DataFrame(rows, columns=[str(column.heading) or " " * i for i, column in enumerate(block.columns)])
