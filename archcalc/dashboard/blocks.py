"""Pages as the command line has them, drawn block by block; each table with its files."""

from __future__ import annotations

import json
from collections.abc import Callable
from html import escape
from typing import Any, Final

import streamlit as st

from archcalc.dashboard.saving import files, save
from archcalc.dashboard.session import plain, say
from archcalc.render.html import as_html, table_as_html
from archcalc.render.page import Block, Page, Picture, Table, Text, Treemap, cell_text
from archcalc.render.text import as_csv, as_markdown
from archcalc.words import ENGLISH, msg

# Longer tables scroll in a frame of their own, where they can be sorted and searched.
LONG: Final = 60


def show(page: Page, *, name: str, data: Callable[[], Any] | None = None) -> None:
    """Every block of a page. `name` begins its files' names and keys.

    With `data` (what the command line prints as JSON) the whole page can be saved too, byte for byte as the command
    line writes it.
    """
    for i, block in enumerate(page.blocks):
        _DRAWN[type(block)](block, f"{name}_{i}" if i else name)
    if data:
        save_page(page, name=name, data=data)


def table(block: Table, name: str) -> None:
    """A table under its title, in the visitor's language, and its files, which are those of the command line."""
    shown = say().within(block)
    _titled(shown)
    if len(shown.rows) <= LONG:
        st.html(table_as_html(shown))
    else:
        st.dataframe(_frame(shown), hide_index=True, height=480, key=f"frame_{name}")
        st.caption(say()(msg("{n} rows", n=f"{len(block.rows):,}")))
    with files(say()(msg("Save the table"))):
        save("CSV", lambda: as_csv(Page("", "", [block])).encode(), f"{name}.csv", "text/csv")
        save("JSON", lambda: as_json(records(block)).encode(), f"{name}.json", "application/json")


def save_page(page: Page, *, name: str, data: Callable[[], Any]) -> None:
    """The page's own files, as the command line's --format and --output write them."""
    with files(say()(msg("Save all of it"))):
        save("HTML", lambda: as_html(page).encode(), f"{name}.page.html", "text/html")
        save("JSON", lambda: as_json(data()).encode(), f"{name}.page.json", "application/json")
        save("CSV", lambda: as_csv(page).encode(), f"{name}.page.csv", "text/csv")
        save("Markdown", lambda: as_markdown(page).encode(), f"{name}.page.md", "text/markdown")


def as_json(data: Any) -> str:
    """Data as the command line prints it."""
    return json.dumps(data, ensure_ascii=False, indent=2) + "\n"


def records(block: Table) -> list[dict[str, Any]]:
    """A table's rows as objects of raw values by heading; columns that say another's number in words are left out."""
    english = ENGLISH.within(block)
    kept = [(i, str(column.heading)) for i, column in enumerate(english.columns) if not column.is_derived]
    return [{heading: row[i] for i, heading in kept} for row in english.rows]


def _titled(block: Block) -> None:
    if block.title:
        st.subheader(plain(str(block.title)), anchor=False)


def _text(block: Text, name: str) -> None:
    shown = say().within(block)
    _titled(shown)
    st.html(f'<pre class="ac-lines">{escape(chr(10).join(map(str, shown.lines)))}</pre>')


def _nothing(block: Treemap | Picture, name: str) -> None:
    """The page that has one draws it in its own way: as a chart which can be entered, or in the page's ink."""


_DRAWN: Final[dict[type, Callable[[Any, str], None]]] = {
    Table: table,
    Text: _text,
    Treemap: _nothing,
    Picture: _nothing,
}


def _frame(block: Table) -> Any:
    """The cells as people read them: numbers of many digits would be rounded by a grid of floats."""
    import pandas as pd

    rows = [[cell_text(column, value) for column, value in zip(block.columns, row, strict=True)] for row in block.rows]
    return pd.DataFrame(rows, columns=[str(column.heading) or " " * i for i, column in enumerate(block.columns)])
