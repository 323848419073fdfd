"""Charts of attention: the kinds of all heads, or the weights of one."""

from __future__ import annotations

from typing import Any

from archcalc.interp.heads.result import KIND_NAMES, PATTERN_KINDS, Attentions, HeadFigures, HeadPattern
from archcalc.render.attention import definitions
from archcalc.render.attention import title as page_title
from archcalc.render.charts.frame import FRAME, title
from archcalc.render.charts.heat_map import Matrix, heat_map
from archcalc.words import Translator, in_context, msg

_COLORS = {
    "previous_token": "#0072B2",
    "first_token": "#E69F00",
    "induction": "#D55E00",
    "duplicate_token": "#009E73",
    "other": "#BBBBBB",
    "mixer": "#CC79A7",
}
CELL = 22


def chart(result: Attentions, say: Translator) -> dict[str, Any]:
    """Return the Vega-Lite chart of the selected head, or of all heads."""
    return _weights(result, result.selected, say) if result.selected else _heads(result)


def _heads(result: Attentions) -> dict[str, Any]:
    """Return a cell for each head: the color is its kind, or its entropy where kinds are not measured."""
    paths = list(dict.fromkeys(row.path for row in result.heads))
    n_columns = max(row.head for row in result.heads) + 1
    tooltip = [
        {"field": "path", "type": "nominal", "title": msg("attention")},
        {"field": "head", "type": "ordinal", "title": in_context("of attention", "head")},
        {"field": "kind", "type": "nominal", "title": msg("kind of head")},
        {"field": "score", "type": "quantitative", "title": msg("score"), "format": ".4f"},
        {"field": "entropy", "type": "quantitative", "title": msg("entropy, nats"), "format": ".4f"},
        {"field": "distance", "type": "quantitative", "title": msg("distance, tokens"), "format": ".4f"},
    ]
    return {
        **FRAME,
        "width": max(240, CELL * n_columns),
        "height": CELL * len(paths),
        "title": title(page_title(result), definitions(result)[-1:]),
        "data": {"values": [_figures(row) for row in result.heads]},
        "mark": {"type": "rect", "stroke": "white"},
        "encoding": {
            "x": {
                "field": "head",
                "type": "ordinal",
                "title": in_context("of attention", "head"),
                "axis": {"labelAngle": 0},
            },
            "y": {"field": "path", "type": "ordinal", "sort": paths, "title": msg("attention")},
            "color": _entropy_color() if result.n_repeated is None else _kind_color(result),
            "tooltip": tooltip,
        },
    }


def _figures(row: HeadFigures) -> dict[str, Any]:
    scores = [score for kind in PATTERN_KINDS if (score := getattr(row, kind)) is not None]
    return {
        "path": row.path,
        "head": row.head,
        "kind": KIND_NAMES[row.head_kind],
        "score": max(scores, default=None),
        "entropy": row.entropy_nats,
        "distance": row.distance,
    }


def _kind_color(result: Attentions) -> dict[str, Any]:
    kinds = [kind for kind in _COLORS if any(row.head_kind == kind for row in result.heads)]
    scale = {"domain": [KIND_NAMES[kind] for kind in kinds], "range": [_COLORS[kind] for kind in kinds]}
    legend = {"orient": "top", "columns": 3}
    return {"field": "kind", "type": "nominal", "title": None, "scale": scale, "legend": legend}


def _entropy_color() -> dict[str, Any]:
    return {"field": "entropy", "type": "quantitative", "title": msg("entropy, nats"), "scale": {"scheme": "blues"}}


def _weights(result: Attentions, head: HeadPattern, say: Translator) -> dict[str, Any]:
    """Return the heat map of one head: a row for each query, a column for each key."""
    n_keys = max(row.key for row in head.weights) + 1
    rows = [head.weights[first : first + n_keys] for first in range(0, len(head.weights), n_keys)]
    matrix = Matrix(
        title="",
        rows=tuple(f"{t} {token}" for t, token in enumerate(head.queries)),
        columns=tuple(f"{cell.key} {cell.token}" for cell in rows[0]),
        values=tuple(tuple(cell.weight for cell in row) for row in rows),
        row_title=say(msg("query")),
        column_title=say(msg("key")),
        mask_label=say(in_context("cell", "masked")),
    )
    name = msg("{path}, head {head}", path=head.path, head=head.head)
    return heat_map(matrix) | {"title": title(page_title(result), [name])}
