"""Chart of the parameters of several models by component."""

from __future__ import annotations

from collections.abc import Sequence
from math import floor, log10
from typing import Any, Final, Literal

from archcalc.analysis.comparison import unique_names
from archcalc.analysis.params import summary
from archcalc.analysis.value_names import COMPONENT_NAMES
from archcalc.ledger.build import build
from archcalc.ledger.leaves import COMPONENTS
from archcalc.render.charts.frame import FRAME, title
from archcalc.render.charts.stacked import COLORS, LABELS, MIN_NAMED_WIDTH
from archcalc.spec import Spec
from archcalc.units import exact
from archcalc.words import ENGLISH, Translator, msg

Scale = Literal["linear", "log"]
BAR: Final = 15


def chart(
    specs: Sequence[Spec], scale: Scale = "linear", say: Translator = ENGLISH, *, of_share: bool
) -> dict[str, Any]:
    """Return the Vega-Lite chart of parameters by component, or of each component's share of its model."""
    models, params = unique_names(specs), [summary(build(spec)) for spec in specs]
    used = [component for component in COMPONENTS if any(each["by_component"].get(component, 0) for each in params)]
    values: list[dict[str, Any]] = [
        {
            "component": say(COMPONENT_NAMES[component]),
            "model": name,
            "size": count / each["total"] if of_share else float(count),
            "exact": exact(count),
            "share": f"{count / each['total']:.2%}",
        }
        for component in used
        for name, each in zip(models, params, strict=True)
        if (count := each["by_component"].get(component, 0))
    ]
    # On a logarithmic axis, bars begin at a power of ten below all values.
    least = 10.0 ** floor(log10(min(value["size"] for value in values) / 2)) if scale == "log" else 0
    axis = {
        "tickCount": 5,
        "labelOverlap": True,
        "labelSeparation": 8,
        **({"format": "~%"} if of_share else {"labelExpr": LABELS["parameters"]}),
    }
    tooltip = [
        {"field": field, "type": "nominal", "title": field} for field in ("model", "component", "exact", "share")
    ]
    subtitle = say(msg("share of each model's own total, exact") if of_share else msg("parameters, stored once, exact"))
    return {
        **FRAME,
        "height": {"step": BAR},
        "title": title(say(msg("Parameters by component")), [subtitle]),
        "data": {"values": values},
        "mark": {"type": "bar", "tooltip": True},
        "encoding": {
            "x": {
                "field": "size",
                "type": "quantitative",
                "title": say(msg("share of the model's parameters") if of_share else msg("parameters")),
                "scale": {"type": scale, "domainMin": least},
                "axis": axis,
            },
            "x2": {"datum": least},
            "y": {
                "field": "component",
                "type": "nominal",
                "title": None,
                "sort": None,
                "axis": {"labelLimit": 130},
                "scale": {"paddingInner": 0.25},
            },
            "yOffset": {"field": "model", "type": "nominal", "sort": models},
            "color": {
                "field": "model",
                "type": "nominal",
                "title": None,
                "scale": {"domain": models, "range": list(COLORS[: len(models)])},
                "legend": {
                    "orient": "top",
                    "columns": {"expr": f"width < {MIN_NAMED_WIDTH} ? 2 : 4"},
                    "symbolType": "square",
                },
            },
            "tooltip": tooltip,
        },
    }
