"""The distribution that the next token is sampled from, beside the model's own."""

from __future__ import annotations

from typing import Any

from archcalc.errors import shown
from archcalc.interp.next_token_result import NextTokenDistributions, TokenProbability
from archcalc.render.charts.frame import FRAME, INK, title
from archcalc.render.charts.next_token import token_name
from archcalc.words import msg

KEPT, EXCLUDED = msg("can be sampled"), msg("excluded")
BAR_HEIGHT = 20


def chart(result: NextTokenDistributions, actual_id: int) -> dict[str, Any]:
    """Return the Vega-Lite chart of a single context: bars of the sampling distribution, ticks of the model's.

    Excluded tokens have no bar. `actual_id` is the id of the token in the text.
    """
    (context,) = result.contexts
    values = [_bar(row, actual_id) for row in result.tokens]
    lines = [
        msg(
            "{n} tokens can be sampled; they have {kept} of the probability",
            n=f"{context.n_kept:,}",
            kept=f"{100 * context.kept_probability:.1f} %",
        )
    ]
    actual = next((row for row in result.tokens if row.id == actual_id), None)
    if actual is not None:
        lines.append(
            msg(
                "actual token: {token}, sampled with probability {p}",
                token=shown(actual.text or ""),
                p=f"{100 * actual.probability:.1f} %",
            )
        )
    colors = {"domain": [KEPT, EXCLUDED], "range": ["#0072B2", "#BBBBBB"]}
    tooltip = [{"field": name, "type": "nominal"} for name in ("token", "group", "rank")]
    tooltip += [{"field": name, "type": "quantitative", "format": ".4%"} for name in ("sampled", "model")]
    x = {
        "type": "quantitative",
        "title": msg("probability: bars as sampled, ticks of the model"),
        "axis": {"format": "%", "tickCount": 5},
    }
    return {
        **FRAME,
        "height": BAR_HEIGHT * len(values),
        "title": title(msg("Next token: sampling distribution"), lines),
        "data": {"values": values},
        "encoding": {"y": {"field": "token", "type": "nominal", "title": None, "sort": None}, "tooltip": tooltip},
        "layer": [
            {
                "mark": {"type": "bar", "height": {"band": 0.7}},
                "encoding": {
                    "x": {"field": "sampled", **x},
                    "color": {
                        "field": "group",
                        "type": "nominal",
                        "title": None,
                        "scale": colors,
                        "legend": {"orient": "top"},
                    },
                },
            },
            {"mark": {"type": "tick", "color": INK, "thickness": 2}, "encoding": {"x": {"field": "model", **x}}},
            {
                "mark": {"type": "text", "align": "left", "dx": 6, "fontSize": 11, "color": INK},
                "encoding": {
                    "x": {"field": "edge", **x},
                    "text": {"field": "note", "type": "nominal"},
                },
                "transform": [{"calculate": "max(datum.sampled, datum.model)", "as": "edge"}],
            },
        ],
    }


def _bar(row: TokenProbability, actual_id: int) -> dict[str, Any]:
    group = KEPT if row.probability else EXCLUDED
    return {
        "token": token_name(row),
        "sampled": row.probability,
        "model": row.model_probability,
        "rank": row.rank,
        "group": group,
        "note": msg("actual token") if row.id == actual_id else "" if row.probability else EXCLUDED,
    }
