"""Stacked bars: totals side by side, each split into the same parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from archcalc.render.charts.frame import FRAME, title
from archcalc.units import exact
from archcalc.words import ENGLISH, Translator, msg

Unit = Literal["FLOPs", "bytes", "parameters"]

BAR_HEIGHT: Final = 44
# A part with at least this share of the longest bar is named inside its bar.
MIN_NAMED_SHARE: Final = 0.2
# Charts narrower than this, in pixels, have names in the legend only.
MIN_NAMED_WIDTH: Final = 420
# The color of texts on the colors of parts.
TEXT_COLOR: Final = "#111111"

# Colors of parts that are not components: the palette of Okabe & Ito, which is safe for color blindness.
COLORS: Final = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#F0E442")

# Labels of an axis: '1.5 TB', '200 G'.
LABELS: Final[dict[Unit, str]] = {
    "FLOPs": "replace(format(datum.value, '~s'), /([kMGTPEZY])$/, ' $1')",
    "bytes": "datum.value ? replace(format(datum.value, '~s'), /([kMGTPEZY]?)$/, ' $1B') : '0'",
    "parameters": "replace(replace(format(datum.value, '~s'), /G$/, 'B'), /([kMBT])$/, ' $1')",
}

_TOOLTIP: Final = {
    "bar": msg("bar"),
    "part": msg("part"),
    "exact": msg("exact"),
    "share": msg("share"),
}


class Bar(msgspec.Struct, frozen=True):
    """A bar: its name, and the size of each part."""

    name: str
    parts: Mapping[str, int]


def stacked(
    heading: str,
    subtitle: list[str],
    bars: Sequence[Bar],
    colors: Mapping[str, str],
    *,
    unit: Unit,
    axis: str,
    say: Translator = ENGLISH,
) -> dict[str, Any]:
    """Return the Vega-Lite chart of bars; `colors` names every part, in their order.

    Parts of size 0 are left out, of the legend too.
    """
    used = {part: color for part, color in colors.items() if any(bar.parts.get(part) for bar in bars)}
    totals = {bar.name: sum(bar.parts.values()) for bar in bars}
    longest = max(totals.values(), default=0)
    # Vega has floats: the exact number is a text.
    values = [
        {
            "bar": bar.name,
            "part": part,
            "order": i,
            "size": float(bar.parts[part]),
            "exact": exact(bar.parts[part]),
            "share": f"{bar.parts[part] / totals[bar.name]:.2%}",
            "name": part if bar.parts[part] >= MIN_NAMED_SHARE * longest else "",
        }
        for bar in bars
        for i, part in enumerate(used)
        if bar.parts.get(part)
    ]
    length = {"field": "size", "type": "quantitative", "title": axis, "stack": "zero"}
    ticks = {"tickCount": 5, "labelExpr": LABELS[unit], "labelOverlap": True, "labelSeparation": 8}
    tooltip = [{"field": field, "type": "nominal", "title": say(name)} for field, name in _TOOLTIP.items()]
    return {
        **FRAME,
        "height": BAR_HEIGHT * len(bars),
        "title": title(heading, subtitle),
        "data": {"values": values},
        "encoding": {
            "y": {"field": "bar", "type": "nominal", "title": None, "sort": None, "axis": {"labelLimit": 150}},
            "order": {"field": "order", "type": "quantitative"},
        },
        "layer": [
            {
                "mark": {"type": "bar", "height": {"band": 0.72}, "stroke": "white", "strokeWidth": 1},
                "encoding": {
                    "x": length | {"axis": ticks},
                    "color": {
                        "field": "part",
                        "type": "nominal",
                        "title": None,
                        "scale": {"domain": list(used), "range": list(used.values())},
                        "legend": {
                            "orient": "top",
                            "columns": {"expr": f"width < {MIN_NAMED_WIDTH} ? 2 : 4"},
                            "symbolType": "square",
                        },
                    },
                    "tooltip": tooltip,
                },
            },
            {
                "mark": {
                    "type": "text",
                    "color": TEXT_COLOR,
                    "fontSize": 12,
                    "tooltip": None,
                    "opacity": {"expr": f"width < {MIN_NAMED_WIDTH} ? 0 : 1"},
                },
                "encoding": {"x": length | {"bandPosition": 0.5}, "text": {"field": "name", "type": "nominal"}},
            },
        ],
    }
