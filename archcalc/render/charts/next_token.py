"""The chart of the next token: a bar for each of the likeliest tokens, in each context."""

from __future__ import annotations

from typing import Any

from archcalc.errors import shown
from archcalc.interp.next_token_result import NextTokenDistributions, TokenProbability
from archcalc.render.charts.frame import FRAME, title
from archcalc.render.next_token import distribution_name
from archcalc.words import msg

COLORS = ("#0072B2", "#D55E00")
BAR = 22


def chart(result: NextTokenDistributions) -> dict[str, Any]:
    """Return the Vega-Lite chart of the sampling probabilities, a color for each context."""
    names = {one.context: f"{one.context}: {shown(one.text)}" for one in result.contexts}
    values = [
        {"token": token_name(row), "p": row.probability, "rank": row.rank, "of": names[row.context]}
        for row in result.tokens
    ]
    colors = {"domain": list(names.values()), "range": list(COLORS[: len(names)])}
    how = msg("{how}; measured, the softmax in float64", how=distribution_name(result))
    return {
        **FRAME,
        "height": BAR * len(values) + BAR,
        "title": title(msg("The next token"), [result.label, how]),
        "data": {"values": values},
        "mark": {"type": "bar", "tooltip": True},
        "encoding": {
            "x": {"field": "p", "type": "quantitative", "title": msg("probability"), "axis": {"tickCount": 6}},
            "y": {"field": "token", "type": "nominal", "title": None, "sort": None},
            "yOffset": {"field": "of", "type": "nominal", "sort": list(names.values())},
            "color": {"field": "of", "type": "nominal", "title": None, "scale": colors, "legend": {"orient": "top"}},
        },
    }


def token_name(row: TokenProbability) -> str:
    """Return a token's text and id."""
    return f"{shown(row.text or '')} {row.id}"
