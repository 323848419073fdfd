"""Stacked bars: some wholes side by side, each cut into the same parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from archcalc.render.charts.frame import FRAME, title
from archcalc.units import exact
from archcalc.words import ENGLISH, Translator, msg

Unit = Literal["FLOPs", "bytes", "parameters"]

BAR: Final = 44
# A part is named inside its bar where it is at least this much of the longest.
WIDE: Final = 0.2
# Pixels of a chart on a telephone, where names stand in the legend alone.
NARROW: Final = 420
# On every colour of the palette, whatever the ground.
ON_COLOR: Final = "#111111"

# For parts that are no components: Okabe & Ito, told apart by the colour-blind too.
COLORS: Final = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#F0E442")

# Prefixes as people write them: '1.5 TB', '200 G'.
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
    """One bar: its name, and the size of each of its parts."""

    name: str
    parts: Mapping[str, int]


def stacked(
    heading: str,
    small: list[str],
    bars: Sequence[Bar],
    colors: Mapping[str, str],
    *,
    unit: Unit,
    axis: str,
    say: Translator = ENGLISH,
) -> dict[str, Any]:
    """The Vega-Lite chart of some bars; `colors` names every part, in the order in which they stand.

    Parts of nothing are left out, of the legend too.
    """
    used = {part: color for part, color in colors.items() if any(bar.parts.get(part) for bar in bars)}
    wholes = {bar.name: sum(bar.parts.values()) for bar in bars}
    longest = max(wholes.values(), default=0)
    # Numbers are drawn as floats, and told exactly.
    values = [
        {
            "bar": bar.name,
            "part": part,
            "order": i,
            "size": float(bar.parts[part]),
            "exact": exact(bar.parts[part]),
            "share": f"{bar.parts[part] / wholes[bar.name]:.2%}",
            "name": part if bar.parts[part] >= WIDE * longest else "",
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
        "height": BAR * len(bars),
        "title": title(heading, small),
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
                            "columns": {"expr": f"width < {NARROW} ? 2 : 4"},
                            "symbolType": "square",
                        },
                    },
                    "tooltip": tooltip,
                },
            },
            {
                "mark": {
                    "type": "text",
                    "color": ON_COLOR,
                    "fontSize": 12,
                    "tooltip": None,
                    "opacity": {"expr": f"width < {NARROW} ? 0 : 1"},
                },
                "encoding": {"x": length | {"bandPosition": 0.5}, "text": {"field": "name", "type": "nominal"}},
            },
        ],
    }
