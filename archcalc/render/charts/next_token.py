"""The figure of which token comes next: a bar for each of the likeliest tokens, in each context."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from archcalc.errors import shown
from archcalc.render.charts.frame import FRAME, title
from archcalc.render.next_token import NAMES, Spelled, how
from archcalc.words import ENGLISH, Translator, msg

if TYPE_CHECKING:
    from archcalc.interp.next_token import NextTokens

COLORS = ("#0072B2", "#D55E00")
BAR = 22


def chart(
    label: str, found: NextTokens, prompts: list[str], spelled: Spelled, say: Translator = ENGLISH
) -> dict[str, Any]:
    """The Vega-Lite chart of probabilities as they are drawn; the contexts are told by colour."""
    named = [f"{name}: {shown(text)}" for name, text in zip(NAMES, prompts, strict=False)]
    values = [
        {"token": f"{shown(spelled(token.id))} {token.id}", "p": place.probability, "rank": place.rank, "of": name}
        for token in found.tokens
        for name, place in zip(named, token.places, strict=True)
    ]
    colors = {"domain": named, "range": list(COLORS[: len(named)])}
    return {
        **FRAME,
        "height": BAR * len(values) + BAR,
        "title": title(
            say(msg("The next token")),
            [label, say(msg("{how}; measured, the softmax in float64", how=how(found, say)))],
        ),
        "data": {"values": values},
        "mark": {"type": "bar", "tooltip": True},
        "encoding": {
            "x": {"field": "p", "type": "quantitative", "title": say(msg("probability")), "axis": {"tickCount": 6}},
            "y": {"field": "token", "type": "nominal", "title": None, "sort": None},
            "yOffset": {"field": "of", "type": "nominal", "sort": named},
            "color": {"field": "of", "type": "nominal", "title": None, "scale": colors, "legend": {"orient": "top"}},
        },
    }
