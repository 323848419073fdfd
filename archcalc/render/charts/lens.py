"""The chart of a lens: the rank of tokens from site to site."""

from __future__ import annotations

from typing import Any, Final

from archcalc.interp.lens.result import LensPredictions
from archcalc.render.charts.frame import FRAME, title
from archcalc.render.lens import position_title
from archcalc.render.lens import title as page_title
from archcalc.words import in_context, msg

_COLORS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


def rank_chart(result: LensPredictions) -> dict[str, Any]:
    """Return the Vega-Lite chart of the ranks at the last position that was read, rank 1 on top."""
    last = result.trajectories[-1].position
    rows = [row for row in result.trajectories if row.position == last]
    sites = [short_name(path) for path in result.sites]
    values = [
        {"site": site, "token": f"{row.token!r} {row.id}", "rank": rank, "probability": p}
        for row in rows
        for site, rank, p in zip(sites, row.ranks, row.probabilities, strict=True)
    ]
    names = [f"{row.token!r} {row.id}" for row in rows]
    colors = {"domain": names, "range": [_COLORS[i % len(_COLORS)] for i in range(len(names))]}
    (token,) = (token for token in result.tokens if token.position == last)
    return {
        **FRAME,
        "title": title(page_title(result), [position_title(result, token)]),
        "data": {"values": values},
        "mark": {"type": "line", "point": {"size": 18}, "tooltip": True},
        "encoding": {
            "x": {
                "field": "site",
                "type": "ordinal",
                "title": in_context("of a model", "site"),
                "sort": sites,
                "axis": {"labelOverlap": True, "labelAngle": -60},
            },
            "y": {
                "field": "rank",
                "type": "quantitative",
                "title": in_context("of a token", "rank"),
                "scale": {"type": "log", "reverse": True, "nice": False},
                "axis": {"format": ",d", "tickCount": 6},
            },
            "color": {"field": "token", "type": "nominal", "title": None, "scale": colors, "legend": {"orient": "top"}},
            "tooltip": [
                {"field": "site", "type": "nominal", "title": in_context("of a model", "site")},
                {"field": "token", "type": "nominal", "title": msg("token")},
                {"field": "rank", "type": "quantitative", "title": in_context("of a token", "rank")},
                {"field": "probability", "type": "quantitative", "title": msg("probability"), "format": ".4g"},
            ],
        },
    }


def short_name(path: str) -> str:
    """Return a site's name without its stack: 'decoder.layers.3.resid_mid' is '3.resid_mid'."""
    return path.rpartition("layers.")[2]
