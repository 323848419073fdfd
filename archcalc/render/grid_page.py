"""A page with interactive heat maps as one self-contained HTML file; it loads nothing from the network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from archcalc.render.grid import Grid
from archcalc.render.html import table_as_html
from archcalc.render.page import Page, Table, Text
from archcalc.words import Translator, msg

# The texts of the page, by their names in the template.
_TEXTS = {
    "map": msg("map"),
    "figure": msg("figure"),
    "keys": msg("hover over a cell, or click it and use the arrow keys"),
    "none": msg("not defined"),
}


def as_html(page: Page, grids: Sequence[Grid], say: Translator) -> str:
    """Return the page of the heat maps, with the tables and texts of `page` after them, in a language."""
    from jinja2 import Environment, PackageLoader
    from markupsafe import Markup

    environment = Environment(loader=PackageLoader("archcalc.render"), autoescape=True)
    page = say.within(page)
    return environment.get_template("grid.html").render(
        page=page,
        lang=say.lang,
        grids=[_data(say.within(grid)) for grid in grids],
        blocks=[
            {"title": block.title, "html": Markup(table_as_html(block))}  # noqa: S704 - our own template
            if isinstance(block, Table)
            else {"title": block.title, "lines": block.lines}
            for block in page.blocks
            if isinstance(block, Table | Text)
        ],
        texts={name: say(message) for name, message in _TEXTS.items()},
    )


def _data(grid: Grid) -> dict[str, Any]:
    return {
        "title": grid.title,
        "rowTitle": grid.row_title,
        "rows": grid.rows,
        "columnTitle": grid.column_title,
        "columns": grid.columns,
        "values": {name: [[_short(x) for x in row] for row in rows] for name, rows in grid.values.items()},
        "names": dict(grid.names),
        "texts": grid.texts,
    }


def _short(x: float | None) -> float | None:
    """Return a number with six significant digits, which a screen shows at most."""
    return None if x is None else float(f"{x:.6g}")
