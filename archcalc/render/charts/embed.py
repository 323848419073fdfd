"""Charts of token vectors: words on a plane, and the similarity of a word in two contexts by layer."""

from __future__ import annotations

from typing import Any

from archcalc.interp.embed.result import ContextualSimilarity, Projection
from archcalc.render.charts.frame import FRAME, INK, title
from archcalc.render.embed import projection_title, space
from archcalc.words import msg

COLORS = ("#0072B2", "#D55E00")


def projection_chart(result: Projection) -> dict[str, Any]:
    """Return the Vega-Lite chart of words on the plane; the axes say how much variance they explain."""
    values = [{"word": row.word, "x": row.x, "y": row.y} for row in result.points]
    shares = [*(row.share for row in result.components), 0.0]
    axes = {
        axis: {
            "field": axis,
            "type": "quantitative",
            "scale": {"zero": False, "nice": True},
            "title": msg("component {k}: {percent} % of the variance", k=k, percent=f"{100 * share:.1f}"),
        }
        for k, (axis, share) in enumerate(zip(("x", "y"), shares, strict=False), 1)
    }
    label = {"type": "text", "align": "left", "dx": 8, "fontSize": 13, "color": INK}
    return {
        **FRAME,
        "title": title(projection_title(result), [space(result)]),
        "data": {"values": values},
        "encoding": axes,
        "layer": [
            {"mark": {"type": "circle", "size": 70, "color": COLORS[0], "opacity": 1, "tooltip": True}},
            {"mark": label, "encoding": {"text": {"field": "word"}}},
        ],
    }


def contexts_chart(result: ContextualSimilarity) -> dict[str, Any]:
    """Return the Vega-Lite chart of the cosine by layer, beside that of the other tokens."""
    names = [result.word, msg("other tokens")]
    rows = [(row.layer, [row.cosine, row.baseline]) for row in result.layers]
    values = [
        {"layer": layer, "cosine": cosine, "of": name}
        for layer, pair in rows
        for name, cosine in zip(names, pair, strict=True)
        if cosine is not None
    ]
    colors = {"domain": names, "range": list(COLORS)}
    return {
        **FRAME,
        "title": title(
            msg("{model}: {word} in two contexts", model=result.label, word=result.word),
            [" · ".join(row.text for row in result.contexts)],
        ),
        "data": {"values": values},
        "mark": {"type": "line", "point": True, "tooltip": True},
        "encoding": {
            "x": {
                "field": "layer",
                "type": "quantitative",
                "title": msg("layers computed"),
                "axis": {"tickMinStep": 1},
            },
            "y": {"field": "cosine", "type": "quantitative", "title": msg("cosine")},
            "color": {"field": "of", "type": "nominal", "title": None, "scale": colors, "legend": {"orient": "top"}},
        },
    }
