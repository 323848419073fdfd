"""The figure of a training run: its loss, step by step, and on what is held out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from archcalc.render.charts.frame import FRAME, title
from archcalc.words import msg

LEARNED, HELD_OUT = msg("learned from"), msg("held out")
COLORS = ("#0072B2", "#D55E00")
MOST_POINTS = 1000


def loss_curve(name: str, losses: Sequence[float], held_out: Sequence[tuple[int, float]]) -> dict[str, Any]:
    """The Vega-Lite chart of losses in nats a target: of each step, and of (step, loss) on what is held out.

    Of a long run the losses are means over so many steps that a thousand points are left.
    """
    every = -(-len(losses) // MOST_POINTS)
    parts = [losses[start : start + every] for start in range(0, len(losses), every)]
    values = [{"step": 1 + i * every, "nats": sum(part) / len(part), "of": LEARNED} for i, part in enumerate(parts)]
    values += [{"step": step, "nats": nats, "of": HELD_OUT} for step, nats in held_out]
    subtitle = [msg("cross-entropy in nats a target, measured; {n:,} steps", n=len(losses))]
    if every > 1:
        subtitle.append(msg("each point the mean of {every} steps", every=every))
    return {
        **FRAME,
        "title": title(msg("{name}: loss", name=name), subtitle),
        "data": {"values": values},
        "mark": {"type": "line", "tooltip": True, "strokeWidth": 2},
        "encoding": {
            "x": {"field": "step", "type": "quantitative", "title": msg("step"), "axis": {"grid": False}},
            "y": {"field": "nats", "type": "quantitative", "title": msg("nats"), "scale": {"zero": False}},
            "color": {
                "field": "of",
                "type": "nominal",
                "title": None,
                "scale": {"domain": [LEARNED, HELD_OUT], "range": COLORS},
            },
        },
    }
