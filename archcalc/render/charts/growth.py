"""Chart of the KV cache against the context length, beside the weights."""

from __future__ import annotations

from typing import Any

from archcalc.analysis.growth import CacheGrowth
from archcalc.render.charts.context import ticks
from archcalc.render.charts.frame import FRAME, title
from archcalc.render.charts.stacked import LABELS
from archcalc.units import exact
from archcalc.words import ENGLISH, Translator, msg

_COLORS = ("#0072B2", "#D55E00")


def chart(result: CacheGrowth, weights: tuple[str, int], say: Translator = ENGLISH) -> dict[str, Any]:
    """Return the Vega-Lite chart, both axes logarithmic. `weights` are their format and their bytes."""
    names = [say(msg("KV cache, {dtype}", dtype=result.cache_dtype)), say(msg("weights, {dtype}", dtype=weights[0]))]
    ends = result.points[0].tokens, result.points[-1].tokens
    values = [_value(point.tokens, point.kv_cache_bytes, names[0]) for point in result.points]
    values += [_value(tokens, weights[1], names[1]) for tokens in ends]
    sizes = [value["size"] for value in values]
    powers = [point.tokens for point in result.points if not point.tokens & (point.tokens - 1)]
    heading = say(msg("{name}: the KV cache as the context grows", name=result.label))
    tooltip = [{"field": field, "type": "nominal", "title": field} for field in ("of", "context", "exact")]
    return {
        **FRAME,
        "title": title(heading, [say(msg("sequences: {batch}; exact", batch=exact(result.batch)))]),
        "data": {"values": values},
        "mark": {"type": "line", "strokeWidth": 2.5, "point": {"size": 40}, "tooltip": True},
        "encoding": {
            "x": {
                "field": "tokens",
                "type": "quantitative",
                "title": say(msg("context length, tokens")),
                "scale": {"type": "log", "base": 2, "domain": list(ends), "nice": False},
                "axis": {"values": powers, "format": ",d", "grid": False, "labelOverlap": True, "labelSeparation": 8},
            },
            "y": {
                "field": "size",
                "type": "quantitative",
                "title": say(msg("bytes")),
                "scale": {"type": "log", "nice": False},
                "axis": {"labelExpr": LABELS["bytes"], "values": ticks(min(sizes) / 2, max(sizes) * 2)},
            },
            "color": {
                "field": "of",
                "type": "nominal",
                "title": None,
                "scale": {"domain": names, "range": list(_COLORS)},
                "legend": {"orient": "top"},
            },
            "strokeDash": {
                "field": "of",
                "type": "nominal",
                "scale": {"domain": names, "range": [[1, 0], [6, 4]]},
                "legend": None,
            },
            "tooltip": tooltip,
        },
    }


def _value(tokens: int, size: int, of: str) -> dict[str, Any]:
    return {"tokens": tokens, "size": float(size), "of": of, "context": exact(tokens), "exact": exact(size)}
