"""The chart of an attribution: what the parts of each layer add to the logit."""

from __future__ import annotations

from typing import Any

from archcalc.interp.heads.attribution_result import PART_NAMES, ContributionRow, LogitAttribution
from archcalc.render.attribute import subtitle
from archcalc.render.attribute import title as page_title
from archcalc.render.charts.frame import COMPONENT_COLORS, FAINT, FRAME, INK, title
from archcalc.words import msg

# A part has the color of its component in every other chart.
_COLORS = {
    "embedding": COMPONENT_COLORS["embedding"],
    "head": COMPONENT_COLORS["attention"],
    "attention": COMPONENT_COLORS["attention"],
    "attention_bias": "#0072B2",
    "ffn": COMPONENT_COLORS["ffn"],
    "mixer": COMPONENT_COLORS["mixer"],
    "norm_bias": COMPONENT_COLORS["norm"],
    "projection_bias": COMPONENT_COLORS["norm"],
    "head_bias": COMPONENT_COLORS["head"],
}


def chart(result: LogitAttribution) -> dict[str, Any]:
    """Return the Vega-Lite chart: a bar for each layer, stacked from 0 in both directions; a segment is a part."""
    rows = [row for row in result.contributions if row.part != "remainder"]
    parts = [part for part in _COLORS if any(row.part == part for row in rows)]
    values = [
        {
            "place": _place(row),
            "part": PART_NAMES[row.part],
            "path": row.path if row.head is None else f"{row.path}.{row.head}",
            "contribution": row.contribution,
        }
        for row in rows
    ]
    places = list(dict.fromkeys(str(value["place"]) for value in values))
    colors = {"domain": [PART_NAMES[part] for part in parts], "range": [_COLORS[part] for part in parts]}
    name = msg("contribution")
    return {
        **FRAME,
        "title": title(page_title(result), [subtitle(result)]),
        "data": {"values": values},
        "encoding": {
            "x": {
                "field": "place",
                "type": "ordinal",
                "sort": places,
                "title": msg("layer"),
                "axis": {"labelAngle": 0, "labelOverlap": True},
            }
        },
        "layer": [
            {
                "mark": {"type": "bar", "stroke": "white", "strokeWidth": 0.5},
                "encoding": {
                    "y": {"field": "contribution", "type": "quantitative", "title": name, "stack": "zero"},
                    "color": {
                        "field": "part",
                        "type": "nominal",
                        "title": None,
                        "scale": colors,
                        "legend": {"orient": "top"},
                    },
                    "tooltip": [
                        {"field": "path", "type": "nominal", "title": msg("path")},
                        {"field": "part", "type": "nominal", "title": msg("part")},
                        {"field": "contribution", "type": "quantitative", "title": name, "format": ".4f"},
                    ],
                },
            },
            {
                "mark": {"type": "point", "filled": True, "color": INK, "size": 30},
                "encoding": {"y": {"field": "contribution", "type": "quantitative", "aggregate": "sum"}},
            },
            {"mark": {"type": "rule", "color": FAINT}, "encoding": {"x": None, "y": {"datum": 0}}},
        ],
    }


def _place(row: ContributionRow) -> str:
    """Return the layer of a part; of one in no layer, its own name."""
    return row.path.rpartition(".")[2] if row.layer is None else str(row.layer)
