"""What may come next as it is drawn, beside what the model alone would say, and what the cuts leave out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from archcalc.errors import shown
from archcalc.render.charts.frame import FRAME, INK, title
from archcalc.words import ENGLISH, Translator, msg

if TYPE_CHECKING:
    from archcalc.interp.next_token import NextTokens

KEPT, CUT = "#0072B2", "#BBBBBB"
BAR = 20


def chart(found: NextTokens, came: int, spelled: Callable[[int], str], say: Translator = ENGLISH) -> dict[str, Any]:
    """The Vega-Lite chart of the one context of `found`: a bar a token as it is drawn, a tick where the model had it.

    A token that is cut has no bar, and says so; `came` is the token that stands there in the text.
    """
    (context,) = found.contexts
    values = [
        {
            "token": f"{shown(spelled(token.id))} {token.id}",
            "drawn": token.places[0].probability,
            "own": token.places[0].model_probability,
            "rank": token.places[0].rank,
            "of": say(msg("may be drawn")) if token.places[0].probability else say(msg("cut")),
            "note": say(msg("this came"))
            if token.id == came
            else ""
            if token.places[0].probability
            else say(msg("cut")),
        }
        for token in found.tokens
    ]
    words = [
        say(
            msg(
                "{n} tokens may be drawn: they have {kept} of the probability before the cuts",
                n=f"{context.n_kept:,}",
                kept=f"{100 * context.kept:.1f} %",
            )
        )
    ]
    place = next((token.places[0] for token in found.tokens if token.id == came), None)
    if place is not None:
        words.append(
            say(
                msg(
                    "what came: {token}, {p} likely as drawn now",
                    token=shown(spelled(came)),
                    p=f"{100 * place.probability:.1f} %",
                )
            )
        )
    colors = {"domain": [say(msg("may be drawn")), say(msg("cut"))], "range": [KEPT, CUT]}
    tooltip = [{"field": name, "type": "nominal"} for name in ("token", "of", "rank")]
    tooltip += [{"field": name, "type": "quantitative", "format": ".4%"} for name in ("drawn", "own")]
    along = {
        "type": "quantitative",
        "title": say(msg("probability: bars as drawn, ticks the model's own")),
        "axis": {"format": "%", "tickCount": 5},
    }
    return {
        **FRAME,
        "height": BAR * len(values),
        "title": title(say(msg("What could come here")), words),
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
