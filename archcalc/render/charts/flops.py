"""Charts of FLOPs: by component, and a training step as papers count it."""

from __future__ import annotations

from typing import Any

from archcalc.analysis.value_names import COMPONENT_NAMES
from archcalc.analysis.workload_flops import WorkloadFlops
from archcalc.render.charts.frame import COMPONENT_COLORS, FRAME, INK, title
from archcalc.render.charts.stacked import BAR_HEIGHT, LABELS, TEXT_COLOR, Bar, stacked
from archcalc.render.flops import subtitle
from archcalc.units import exact
from archcalc.words import ENGLISH, Translator, msg

_PASSES = {
    "forward": msg("forward, all keys"),
    "forward_causal": msg("forward, causal"),
    "backward": msg("backward"),
    "train_step": msg("training step"),
}
_TOOLTIP = {
    "convention": msg("convention"),
    "exact": msg("exact"),
    "difference": msg("difference from exact"),
    "formula": msg("formula"),
}
_EXACT, _PAPER = "#56B4E9", "#999999"


def components(result: WorkloadFlops, say: Translator = ENGLISH) -> dict[str, Any]:
    """Return the chart with a bar for each pass, divided into components; with a past, forward passes only."""
    passes = list(_PASSES)[:2] if result.workload.past else list(_PASSES)
    bars = [_bar(name, result, say) for name in passes]
    colors = {say(COMPONENT_NAMES[name]): color for name, color in COMPONENT_COLORS.items()}
    heading = say(msg("{name}: FLOPs by component", name=result.label))
    small = [say(subtitle(result, result.workload))]
    return stacked(heading, small, bars, colors, unit="FLOPs", axis=say(msg("FLOPs")), say=say)


def _bar(name: str, result: WorkloadFlops, say: Translator) -> Bar:
    return Bar(
        say(_PASSES[name]), {say(COMPONENT_NAMES[row.component]): getattr(row, name) for row in result.components}
    )


def conventions(result: WorkloadFlops, say: Translator = ENGLISH) -> dict[str, Any]:
    """Return the chart with a bar for each convention, and a line at the exact count."""
    values = [
        {
            "convention": say(row.convention),
            "flops": float(row.train_step),
            "exact": exact(row.train_step),
            "difference": f"{row.difference:+.2%}",
            "formula": say(row.expression),
            "by": say(msg("exact") if row.kind == "exact" else msg("a paper's formula")),
        }
        for row in result.conventions
    ]
    tooltip = [{"field": field, "type": "nominal", "title": say(name)} for field, name in _TOOLTIP.items()]
    colors = {
        "domain": [say(msg("exact")), say(msg("a paper's formula"))],
        "range": [_EXACT, _PAPER],
    }
    size = {"field": "flops", "type": "quantitative"}
    axis = {"tickCount": 5, "labelExpr": LABELS["FLOPs"]}
    return {
        **FRAME,
        "height": 0.7 * BAR_HEIGHT * len(values),
        "title": title(
            say(msg("{name}: a training step's FLOPs, as papers count them", name=result.label)),
            [say(subtitle(result, result.workload))],
        ),
        "data": {"values": values},
        "encoding": {"y": {"field": "convention", "type": "nominal", "title": None, "sort": None}},
        "layer": [
            {
                "mark": {"type": "bar", "height": {"band": 0.7}},
                "encoding": {
                    "x": size | {"title": say(msg("FLOPs")), "axis": axis},
                    "color": {
                        "field": "by",
                        "type": "nominal",
                        "title": None,
                        "scale": colors,
                        "legend": {"orient": "top"},
                    },
                    "tooltip": tooltip,
                },
            },
            {
                "data": {"values": values[:1]},
                "mark": {"type": "rule", "color": INK, "strokeDash": [4, 3]},
                "encoding": {"x": size, "y": None},
            },
            {
                "mark": {"type": "text", "align": "right", "dx": -8, "fontSize": 11, "color": TEXT_COLOR},
                "encoding": {"x": size, "text": {"field": "difference", "type": "nominal"}},
            },
        ],
    }
