"""What may come next as it is drawn, beside what the model alone would say, and what the cuts leave out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from archcalc.errors import shown
from archcalc.render.charts.frame import FRAME, INK, title
from archcalc.render.lang import ENGLISH, Words

if TYPE_CHECKING:
    from archcalc.interp.next_token import Next

KEPT, CUT = "#0072B2", "#BBBBBB"
BAR = 20


def chart(found: Next, came: int, spelled: Callable[[int], str], say: Words = ENGLISH) -> dict[str, Any]:
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
            "of": say("cut.drawn") if token.places[0].probability else say("cut.cut"),
            "note": say("cut.this") if token.id == came else "" if token.places[0].probability else say("cut.cut"),
        }
        for token in found.tokens
    ]
    words = [say("cut.kept", n=f"{context.n_kept:,}", kept=f"{100 * context.kept:.1f} %")]
    place = next((token.places[0] for token in found.tokens if token.id == came), None)
    if place is not None:
        words.append(say("cut.came", token=shown(spelled(came)), p=f"{100 * place.probability:.1f} %"))
    colors = {"domain": [say("cut.drawn"), say("cut.cut")], "range": [KEPT, CUT]}
    tooltip = [{"field": name, "type": "nominal"} for name in ("token", "of", "rank")]
    tooltip += [{"field": name, "type": "quantitative", "format": ".4%"} for name in ("drawn", "own")]
    along = {"type": "quantitative", "title": say("cut.axis"), "axis": {"format": "%", "tickCount": 5}}
    return {
        **FRAME,
        "height": BAR * len(values),
        "title": title(say("cut.title"), words),
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
