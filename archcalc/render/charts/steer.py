"""The chart of a sweep: KL to the plain model and perplexity, by strength."""

from __future__ import annotations

from typing import Any

from archcalc.interp.steer.result import SteeredRow, Steering
from archcalc.render.charts.frame import FRAME, HEIGHT, title
from archcalc.render.steer import heading, subtitle
from archcalc.render.steer import title as page_title
from archcalc.words import Message, msg

KL_COLOR, PERPLEXITY_COLOR = "#0072B2", "#D55E00"


def chart(result: Steering) -> dict[str, Any]:
    """Return the Vega-Lite chart: two curves over the strengths, or bars where the direction is projected out."""
    rows = sorted(result.texts, key=lambda row: row.strength or 0.0)
    values = [_point(row) for row in rows]
    is_swept = all(row.strength is not None for row in rows)
    panels = [
        _panel("kl", msg("KL to the plain model, nats"), KL_COLOR, is_swept=is_swept),
        _panel("perplexity", msg("perplexity under the plain model"), PERPLEXITY_COLOR, is_swept=is_swept),
    ]
    frame = {key: value for key, value in FRAME.items() if key not in ("width", "height")}
    return {
        **frame,
        "title": title(page_title(result), [subtitle(result)]),
        "data": {"values": values},
        "vconcat": panels,
    }


def _point(row: SteeredRow) -> dict[str, Any]:
    return {
        "run": heading(row),
        "strength": row.strength,
        "kl": row.kl_nats,
        "perplexity": row.perplexity,
        "text": row.text or ", ".join(map(str, row.ids)),
    }


def _panel(field: str, name: Message, color: str, *, is_swept: bool) -> dict[str, Any]:
    x = (
        {"field": "strength", "type": "quantitative", "title": msg("strength"), "axis": {"grid": False, "tickCount": 8}}
        if is_swept
        else {"field": "run", "type": "nominal", "title": None, "sort": None, "axis": {"labelAngle": 0}}
    )
    mark = {"type": "line", "point": {"size": 40, "color": color}} if is_swept else {"type": "bar", "size": 60}
    return {
        "width": FRAME["width"],
        "height": HEIGHT // 2,
        "mark": {**mark, "color": color, "tooltip": True},
        "encoding": {
            "x": x,
            "y": {"field": field, "type": "quantitative", "title": name, "axis": {"tickCount": 5}},
            "tooltip": [
                {"field": "run", "type": "nominal", "title": msg("steering")},
                {"field": field, "type": "quantitative", "title": name, "format": ".4g"},
                {"field": "text", "type": "nominal", "title": msg("text")},
            ],
        },
    }
