"""The distribution that the next token is sampled from, beside the model's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from archcalc.errors import shown
from archcalc.render.charts.frame import FRAME, INK, title
from archcalc.words import ENGLISH, Translator, msg

if TYPE_CHECKING:
    from archcalc.interp.next_token import NextTokens

KEPT_COLOR, EXCLUDED_COLOR = "#0072B2", "#BBBBBB"
BAR_HEIGHT = 20


def chart(result: NextTokens, actual: int, piece: Callable[[int], str], say: Translator = ENGLISH) -> dict[str, Any]:
    """Return the Vega-Lite chart of a single context: bars of the sampling distribution, ticks of the model's.

    Excluded tokens have no bar. `actual` is the id of the token in the text.
    """
    (context,) = result.contexts
    values = [
        {
            "token": f"{shown(piece(token.id))} {token.id}",
            "sampled": token.places[0].probability,
            "model": token.places[0].model_probability,
            "rank": token.places[0].rank,
            "group": say(msg("can be sampled") if token.places[0].probability else msg("excluded")),
            "note": say(msg("actual token"))
            if token.id == actual
            else ""
            if token.places[0].probability
            else say(msg("excluded")),
        }
        for token in result.tokens
    ]
    lines = [
        say(
            msg(
                "{n} tokens can be sampled; they have {kept} of the probability",
                n=f"{context.n_kept:,}",
                kept=f"{100 * context.kept:.1f} %",
            )
        )
    ]
    place = next((token.places[0] for token in result.tokens if token.id == actual), None)
    if place is not None:
        lines.append(
            say(
                msg(
                    "actual token: {token}, sampled with probability {p}",
                    token=shown(piece(actual)),
                    p=f"{100 * place.probability:.1f} %",
                )
            )
        )
    colors = {"domain": [say(msg("can be sampled")), say(msg("excluded"))], "range": [KEPT_COLOR, EXCLUDED_COLOR]}
    tooltip = [{"field": name, "type": "nominal"} for name in ("token", "group", "rank")]
    tooltip += [{"field": name, "type": "quantitative", "format": ".4%"} for name in ("sampled", "model")]
    x = {
        "type": "quantitative",
        "title": say(msg("probability: bars as sampled, ticks of the model")),
        "axis": {"format": "%", "tickCount": 5},
    }
    return {
        **FRAME,
        "height": BAR_HEIGHT * len(values),
        "title": title(say(msg("Next token: sampling distribution")), lines),
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
