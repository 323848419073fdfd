"""Where the parameters are: a treemap of a model's components, of one's weights, or of one weight's tensors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from archcalc.analysis.row_names import axes_text, row_label
from archcalc.errors import InputError, nearest, shown
from archcalc.ledger.leaves import COMPONENTS
from archcalc.ledger.rows import Ledger, WeightRow
from archcalc.render.charts.frame import COMPONENT_COLORS, FAINT, FRAME, HEIGHT, WIDTH, title
from archcalc.render.charts.treemap_layout import Area, layout
from archcalc.units import exact, percent
from archcalc.words import ENGLISH, Translator, msg

# More tensors than these are drawn several to a tile.
_TOOLTIP: Final = {
    "name": msg("tensor"),
    "component": msg("component"),
    "shape": msg("shape"),
    "axes": msg("axes"),
    "parameters": msg("parameters"),
    "share": msg("share of what is shown"),
}

MOST_TILES = 2000


class Tile(msgspec.Struct, frozen=True):
    """A rectangle to be: what it stands for, its parameters, its component, what else is known of it."""

    name: str
    parameters: int
    component: str
    shape: str = ""
    axes: str = ""


def tiles(ledger: Ledger, within: Sequence[str] = ()) -> list[Tile]:
    """The weights of the model, or of the component that `within` names; or of its weight each tensor.

    They sum to what they are tiles of. Raises InputError for a name that is not there.
    """
    rows = [row for row in ledger.counted_rows if row.total]
    if within:
        rows = _named(rows, [row.component for row in rows], within[0])
    if len(within) > 1:
        (row,) = _named(rows, [row_label(row) for row in rows], within[1])
        return list(_tensors(row))
    return [Tile(row_label(row), row.total, row.component, _shape(row), axes_text(row)) for row in rows]


def steps(ledger: Ledger, within: Sequence[str] = ()) -> list[str]:
    """What can be looked into from here: components, then weights of which there is one in each of several layers."""
    rows = [row for row in ledger.counted_rows if row.total]
    if not within:
        return [component for component in COMPONENTS if any(row.component == component for row in rows)]
    if len(within) > 1:
        return []
    return [row_label(row) for row in rows if row.component == within[0] and row.layers > 1]


def treemap(ledger: Ledger, within: Sequence[str] = (), say: Translator = ENGLISH) -> dict[str, Any]:
    """The Vega-Lite chart of these tiles, areas in proportion to parameters; raises as `tiles` does."""
    found = tiles(ledger, within)
    whole = sum(tile.parameters for tile in found)
    here = " › ".join((say(msg("Where the parameters are")), *within))
    said = say(msg("{n} parameters, exact; {share} of the model", n=exact(whole), share=percent(whole, ledger.total())))
    areas = layout([(tile.component, tile.parameters) for tile in found], WIDTH, HEIGHT)
    values = [_placed(tile, area, whole) for tile, area in zip(found, areas, strict=True)]
    used = [component for component in COMPONENTS if any(tile.component == component for tile in found)]
    colors = {"domain": used, "range": [COMPONENT_COLORS.get(component, FAINT) for component in used]}
    scale = {"nice": False, "zero": False}
    corner = {
        "x": {"field": "x", "type": "quantitative", "axis": None, "scale": {"domain": [0, WIDTH], **scale}},
        "y": {"field": "y", "type": "quantitative", "axis": None, "scale": {"domain": [HEIGHT, 0], **scale}},
    }
    tooltip = [{"field": name, "type": "nominal", "title": say(title)} for name, title in _TOOLTIP.items()]
    legend = {"orient": "bottom", "title": None, "columns": 4} if len(used) > 1 else None
    return {
        **FRAME,
        "title": title(here, [said]),
        "data": {"values": values},
        "encoding": corner,
        "layer": [
            {
                "mark": {"type": "rect", "stroke": "white", "strokeWidth": 1},
                "encoding": {
                    "x2": {"field": "x2"},
                    "y2": {"field": "y2"},
                    "color": {"field": "component", "type": "nominal", "scale": colors, "legend": legend},
                    "tooltip": tooltip,
                },
            },
            *(_words(field, line) for line, field in enumerate(("name", "human"))),
        ],
    }


def _words(field: str, line: int) -> dict[str, Any]:
    """A line of a tile's label; cut where the tile, as wide as it is drawn, ends."""
    mark = {
        "type": "text",
        "align": "left",
        "baseline": "top",
        "dx": 5,
        "dy": 5 + 15 * line,
        "fontSize": 12,
        "color": "#111111",
        "limit": {"expr": f"max(1, (datum.x2 - datum.x) / {WIDTH} * width - 10)"},
    }
    fits = f"datum.y2 - datum.y > {20 + 15 * line} && datum.x2 - datum.x > 40"
    return {
        "transform": [{"filter": fits}],
        "mark": mark,
        "encoding": {"text": {"field": field, "type": "nominal"}},
    }


def _placed(tile: Tile, area: Area, whole: int) -> dict[str, Any]:
    return {
        "x": area.x,
        "x2": area.x + area.width,
        "y": area.y,
        "y2": area.y + area.height,
        "name": tile.name,
        "component": tile.component,
        "shape": tile.shape,
        "axes": tile.axes,
        "parameters": exact(tile.parameters),
        "human": exact(tile.parameters),
        "share": percent(tile.parameters, whole),
    }


def _tensors(row: WeightRow) -> Iterable[Tile]:
    """A row's tensors, one a layer; of very many, so many to a tile that it can be seen."""
    names = list(row.names())
    every = -(-len(names) // MOST_TILES)
    for start in range(0, len(names), every):
        some = names[start : start + every]
        name = some[0] if len(some) == 1 else f"{some[0]} … {some[-1]}"
        yield Tile(name, row.count * len(some), row.component, _shape(row), axes_text(row))


def _shape(row: WeightRow) -> str:
    return " × ".join(map(exact, row.shape))


def _named(rows: list[WeightRow], names: list[str], wanted: str) -> list[WeightRow]:
    found = [row for row, name in zip(rows, names, strict=True) if name == wanted]
    if not found:
        allowed = ", ".join(dict.fromkeys(names))
        raise InputError(
            msg("nothing is called {wanted} here{hint}", wanted=shown(wanted), hint=nearest(wanted, names)),
            allowed=allowed,
        )
    return found
