"""The treemap of a model's weights, of those of a component, or of the tensors of a weight."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Final

from archcalc.analysis.params import WeightParams
from archcalc.analysis.row_names import tensor_label
from archcalc.errors import InputError, nearest, shown
from archcalc.ledger.leaves import COMPONENTS, Component
from archcalc.render.charts.frame import COMPONENT_COLORS, FAINT, FRAME, HEIGHT, WIDTH, title
from archcalc.render.charts.treemap_layout import Area, layout
from archcalc.render.page import Column, cell_text
from archcalc.results import Row, count, fields_of, product, share, text
from archcalc.units import exact, human, percent
from archcalc.words import ENGLISH, Translator, msg

# More tensors than these are drawn several to a tile.
MAX_TILES: Final = 2000


class Tile(Row, frozen=True, kw_only=True):
    """A rectangle of the treemap: a weight of the model, or one tensor of a weight."""

    path: Annotated[str, text(msg("tensor"))]
    component: Annotated[Component, text(msg("component"))]
    shape: Annotated[tuple[int, ...], product(msg("shape"))]
    axes: Annotated[tuple[str, ...], product(msg("axes"))]
    elements: Annotated[int, count(msg("parameters"))]
    share: Annotated[float, share(msg("share of what is shown"))]


def tiles(weights: Sequence[WeightParams], within: Sequence[str] = ()) -> list[Tile]:
    """Return a tile for each weight of the model or of the component in `within`, or for each tensor of a weight there.

    They sum to the model, the component or the weight. Raises InputError for an unknown name.
    """
    rows = _parameters(weights)
    if within:
        rows = _called(rows, [row.component for row in rows], within[0])
    if len(within) > 1:
        (row,) = _called(rows, [_label(row) for row in rows], within[1])
        return list(_tensors(row))
    whole = sum(row.elements for row in rows)
    return [_tile(row, _label(row), row.elements, whole) for row in rows]


def steps(weights: Sequence[WeightParams], within: Sequence[str] = ()) -> list[str]:
    """Return the names that `within` may be followed by: components, then weights that several layers have."""
    rows = _parameters(weights)
    if not within:
        return [component for component in COMPONENTS if any(row.component == component for row in rows)]
    if len(within) > 1:
        return []
    return [_label(row) for row in rows if row.component == within[0] and row.layers > 1]


def _parameters(weights: Sequence[WeightParams]) -> list[WeightParams]:
    return [row for row in weights if row.tensor_kind != "buffer" and row.elements]


def _label(row: WeightParams) -> str:
    return tensor_label(row.path, row.group, row.tensor_kind)


def treemap(weights: Sequence[WeightParams], within: Sequence[str] = (), say: Translator = ENGLISH) -> dict[str, Any]:
    """Return the Vega-Lite chart of the tiles, areas in proportion to parameters. Raises as `tiles` does."""
    drawn = tiles(weights, within)
    whole, total = sum(tile.elements for tile in drawn), sum(row.elements for row in _parameters(weights))
    here = " › ".join((say(msg("Where the parameters are")), *within))
    subtitle = say(msg("{n} parameters, exact; {share} of the model", n=exact(whole), share=percent(whole, total)))
    areas = layout([(tile.component, tile.elements) for tile in drawn], WIDTH, HEIGHT)
    values = [_placed(tile, area) for tile, area in zip(drawn, areas, strict=True)]
    used = [component for component in COMPONENTS if any(tile.component == component for tile in drawn)]
    colors = {"domain": used, "range": [COMPONENT_COLORS.get(component, FAINT) for component in used]}
    scale = {"nice": False, "zero": False}
    corner = {
        "x": {"field": "x", "type": "quantitative", "axis": None, "scale": {"domain": [0, WIDTH], **scale}},
        "y": {"field": "y", "type": "quantitative", "axis": None, "scale": {"domain": [HEIGHT, 0], **scale}},
    }
    tooltip = [
        {"field": name, "type": "nominal", "title": say(field.heading)} for name, field in fields_of(Tile).items()
    ]
    legend = {"orient": "bottom", "title": None, "columns": 4} if len(used) > 1 else None
    return {
        **FRAME,
        "title": title(here, [subtitle]),
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
            *(_label_line(field, line) for line, field in enumerate(("path", "rounded"))),
        ],
    }


def _label_line(field: str, line: int) -> dict[str, Any]:
    """Return the layer of one line of the labels, cut at the right edge of the tile."""
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


def _placed(tile: Tile, area: Area) -> dict[str, Any]:
    """Return a tile's values as text, and its corners."""
    corners = {"x": area.x, "x2": area.x + area.width, "y": area.y, "y2": area.y + area.height}
    fields = fields_of(Tile).items()
    values = {name: cell_text(Column(field.heading, field.kind), getattr(tile, name)) for name, field in fields}
    return {**corners, **values, "rounded": human(tile.elements)}


def _tensors(row: WeightParams) -> Iterable[Tile]:
    """Yield a tile for each layer's tensor, or for several if there are very many."""
    names = [row.path.replace("*", str(index), 1) for index in row.layer_indices] if "*" in row.path else [row.path]
    every = -(-len(names) // MAX_TILES)
    for start in range(0, len(names), every):
        some = names[start : start + every]
        path = some[0] if len(some) == 1 else f"{some[0]} … {some[-1]}"
        yield _tile(row, path, row.elements_per_layer * len(some), row.elements)


def _tile(row: WeightParams, path: str, elements: int, whole: int) -> Tile:
    return Tile(
        path=path,
        component=row.component,
        shape=row.shape,
        axes=row.axes,
        elements=elements,
        share=elements / whole,
    )


def _called(rows: list[WeightParams], names: Sequence[str], wanted: str) -> list[WeightParams]:
    """Return the rows of this name. Raises InputError if there is none."""
    matches = [row for row, name in zip(rows, names, strict=True) if name == wanted]
    if not matches:
        allowed = ", ".join(dict.fromkeys(names))
        raise InputError(
            msg("nothing is called {wanted} here{hint}", wanted=shown(wanted), hint=nearest(wanted, names)),
            allowed=allowed,
        )
    return matches
