"""The chart of one place in a text: probabilities as tokens are sampled, beside the model's own."""

from __future__ import annotations

from typing import Any

from archcalc.errors import shown
from archcalc.interp.next_token_result import NextTokenDistributions, TokenProbability
from archcalc.render.charts.frame import FRAME, INK, title
from archcalc.render.charts.next_token import token_name
from archcalc.words import Message, msg

DRAWN, CUT = msg("may be drawn"), msg("cut")
BAR = 20


def chart(result: NextTokenDistributions, chosen_id: int) -> dict[str, Any]:
    """Return the Vega-Lite chart of one context: a bar for each token as it is sampled, a tick for the model's own.

    A token that is cut has no bar and is labeled so; `chosen_id` is the token at this place of the text.
    """
    (context,) = result.contexts
    values = [_bar(row, chosen_id) for row in result.tokens]
    lines = [
        msg(
            "{n} tokens may be drawn: they have {kept} of the probability before the cuts",
            n=f"{context.n_kept:,}",
            kept=f"{100 * context.kept_probability:.1f} %",
        )
    ]
    chosen = next((row for row in result.tokens if row.id == chosen_id), None)
    if chosen is not None:
        lines.append(
            msg(
                "what came: {token}, {p} likely as drawn now",
                token=shown(chosen.text or ""),
                p=f"{100 * chosen.probability:.1f} %",
            )
        )
    colors = {"domain": [DRAWN, CUT], "range": ["#0072B2", "#BBBBBB"]}
    tooltip = [{"field": name, "type": "nominal"} for name in ("token", "of", "rank")]
    tooltip += [{"field": name, "type": "quantitative", "format": ".4%"} for name in ("drawn", "own")]
    along = {
        "type": "quantitative",
        "title": msg("probability: bars as drawn, ticks the model's own"),
        "axis": {"format": "%", "tickCount": 5},
    }
    return {
        **FRAME,
        "height": BAR * len(values),
        "title": title(msg("What could come here"), lines),
        "data": {"values": values},
        "encoding": {"y": {"field": "token", "type": "nominal", "title": None, "sort": None}, "tooltip": tooltip},
        "layer": [
            {
                "mark": {"type": "bar", "height": {"band": 0.7}},
                "encoding": {
                    "x": {"field": "drawn", **along},
                    "color": {
                        "field": "of",
                        "type": "nominal",
                        "title": None,
                        "scale": colors,
                        "legend": {"orient": "top"},
                    },
                },
            },
            {"mark": {"type": "tick", "color": INK, "thickness": 2}, "encoding": {"x": {"field": "own", **along}}},
            {
                "mark": {"type": "text", "align": "left", "dx": 6, "fontSize": 11, "color": INK},
                "encoding": {
                    "x": {"field": "edge", **along},
                    "text": {"field": "note", "type": "nominal"},
                },
                "transform": [{"calculate": "max(datum.drawn, datum.own)", "as": "edge"}],
            },
        ],
    }


def _bar(row: TokenProbability, chosen_id: int) -> dict[str, Any]:
    of: Message = DRAWN if row.probability else CUT
    return {
        "token": token_name(row),
        "drawn": row.probability,
        "own": row.model_probability,
        "rank": row.rank,
        "of": of,
        "note": msg("this came") if row.id == chosen_id else "" if row.probability else CUT,
    }
