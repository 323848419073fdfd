"""The figures of FLOPs: by component, and a training step as papers count it."""

from __future__ import annotations

from typing import Any

from archcalc.analysis.flops import Flops, by_component
from archcalc.analysis.value_names import COMPONENT_NAMES
from archcalc.analysis.workload_flops import WorkloadFlops
from archcalc.render.charts.frame import COMPONENT_COLORS, FRAME, INK, title
from archcalc.render.charts.stacked import BAR_HEIGHT, LABELS, TEXT_COLOR, Bar, stacked
from archcalc.render.flops import subtitle
from archcalc.units import exact
from archcalc.words import ENGLISH, Translator, in_context, msg

_PASSES = {
    "forward": msg("forward, all keys"),
    "forward_causal": msg("forward, causal"),
    "backward": msg("backward"),
    "train_step": msg("training step"),
}
_TOOLTIP = {
    "way": msg("way"),
    "exact": msg("exact"),
    "off": in_context("difference", "off"),
    "formula": msg("formula"),
}
_EXACT, _PAPER = "#56B4E9", "#999999"


def components(found: WorkloadFlops, say: Translator = ENGLISH) -> dict[str, Any]:
    """A bar for each pass over the model, cut into components; of what has a past, forward alone."""
    parts = by_component(found.ops)
    passes = list(_PASSES)[:2] if found.work.past else list(_PASSES)
    bars = [_pass(name, parts, say) for name in passes]
    colors = {say(COMPONENT_NAMES[name]): color for name, color in COMPONENT_COLORS.items()}
    heading = say(msg("{name}: FLOPs by component", name=found.spec.label))
    return stacked(
        heading, [say(subtitle(found.spec, found.work))], bars, colors, unit="FLOPs", axis=say(msg("FLOPs")), say=say
    )


def _pass(name: str, parts: Any, say: Translator) -> Bar:
    each: dict[str, Flops] = parts
    sizes = {say(COMPONENT_NAMES[part]): int(flops[name]) for part, flops in each.items()}  # type: ignore[literal-required]
    return Bar(say(_PASSES[name]), sizes)


def conventions(found: WorkloadFlops, say: Translator = ENGLISH) -> dict[str, Any]:
    """A bar for each way to count a training step; a line down from the exact one."""
    values = [
        {
            "way": say(one.convention.name),
            "flops": float(one.train_step),
            "exact": exact(one.train_step),
            "off": f"{one.off:+.2%}",
            "formula": say(one.convention.formula),
            "by": say(msg("exact") if one.convention.is_exact else msg("a paper's formula")),
        }
        for one in found.papers
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
            say(msg("{name}: a training step's FLOPs, as papers count them", name=found.spec.label)),
            [say(subtitle(found.spec, found.work))],
        ),
        "data": {"values": values},
        "encoding": {"y": {"field": "way", "type": "nominal", "title": None, "sort": None}},
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
                "encoding": {"x": size, "text": {"field": "off", "type": "nominal"}},
            },
        ],
    }
