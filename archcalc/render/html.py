"""Pages as one self-contained HTML file: no scripts, nothing fetched."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import msgspec
from jinja2 import Environment, PackageLoader, Template
from markupsafe import Markup

from archcalc.render.charts.frame import COMPONENT_COLORS
from archcalc.render.charts.treemap_layout import Area, layout
from archcalc.render.page import Block, Page, Picture, Table, Text, Treemap, TreemapBox, cell_text
from archcalc.units import exact, human, percent

WIDTH, HEIGHT = 960.0, 480.0


class Rectangle(msgspec.Struct, frozen=True):
    """A placed box of a treemap."""

    area: Area
    color: str
    name: str
    size: str
    title: str

    @property
    def label(self) -> str:
        """Return the text inside."""
        return f"{self.name} {self.size}"

    @property
    def is_label_visible(self) -> bool:
        """Return whether the label fits inside."""
        return self.area.height > 16 and self.area.width > 7 * len(self.label)


def as_html(page: Page) -> str:
    """Return the page as an HTML document."""
    blocks = [_template_values(block) for block in page.blocks]
    return _template("page.html").render(page=page, blocks=blocks, width=WIDTH, height=HEIGHT)


def table_as_html(table: Table) -> str:
    """Return a table without its title as an HTML element, for another page."""
    return _template("table.html").render(block=_template_values(table))


@cache
def _template(name: str) -> Template:
    loader = PackageLoader("archcalc.render")
    return Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True).get_template(name)


def _template_values(block: Block) -> dict[str, Any]:
    if isinstance(block, Picture):
        return {"kind": "picture", "title": block.title, "svg": Markup(block.svg)}  # noqa: S704 - see Picture
    if isinstance(block, Treemap):
        return {
            "kind": "treemap",
            "title": block.title,
            "rectangles": rectangles(block.boxes),
            "legend": _legend(block),
        }
    if isinstance(block, Text):
        return {"kind": "text", "title": block.title, "lines": block.lines}
    rows = [[cell_text(column, value) for column, value in zip(block.columns, row, strict=True)] for row in block.rows]
    return {
        "kind": "table",
        "title": block.title,
        "columns": block.columns,
        "rows": rows,
        "n_body": len(rows) - block.n_sums,
    }


def rectangles(boxes: Sequence[TreemapBox], width: float = WIDTH, height: float = HEIGHT) -> list[Rectangle]:
    """Return the boxes of a treemap with their places, each family together, without boxes too small to see."""
    total = sum(box.value for box in boxes)
    visible = [box for box in boxes if box.value > total / 1e6]
    areas = layout([(box.family, box.value) for box in visible], width, height)
    return [_rectangle(box, area, total) for box, area in zip(visible, areas, strict=True)]


def _rectangle(box: TreemapBox, area: Area, total: int) -> Rectangle:
    title = f"{box.label}: {exact(box.value)} = {percent(box.value, total)}"
    name = box.label.replace("layers.*.", "")
    return Rectangle(area, _color(box.family), name, human(box.value), title)


def _legend(block: Treemap) -> list[tuple[str, str]]:
    families = dict.fromkeys(box.family for box in block.boxes)
    return [(family, _color(family)) for family in families]


def _color(family: str) -> str:
    return COMPONENT_COLORS.get(family, COMPONENT_COLORS["other"])
