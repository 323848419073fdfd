"""The chart of a training run: its loss at each step and on the validation set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from archcalc.render.charts.frame import FRAME, title
from archcalc.run.train.result import TrainingRun
from archcalc.words import msg

TRAINING, VALIDATION = msg("training"), msg("validation")
COLORS = ("#0072B2", "#D55E00")
MAX_POINTS = 1000


def loss_curve(result: TrainingRun, losses: Sequence[float]) -> dict[str, Any]:
    """Return the Vega-Lite chart of losses in nats per target: `losses` of each step, and those of the validations.

    The points of a long run are means over as many steps as leave a thousand points.
    """
    every = -(-len(losses) // MAX_POINTS)
    parts = [losses[start : start + every] for start in range(0, len(losses), every)]
    values = [{"step": 1 + i * every, "nats": sum(part) / len(part), "of": TRAINING} for i, part in enumerate(parts)]
    values += [{"step": one.step, "nats": one.nats, "of": VALIDATION} for one in result.validations]
    subtitle = [msg("cross-entropy in nats per target, measured; {n:,} steps", n=len(losses))]
    if every > 1:
        subtitle.append(msg("each point is the mean of {every} steps", every=every))
    return {
        **FRAME,
        "title": title(msg("{name}: loss", name=result.name), subtitle),
        "data": {"values": values},
        "mark": {"type": "line", "tooltip": True, "strokeWidth": 2},
        "encoding": {
            "x": {"field": "step", "type": "quantitative", "title": msg("step"), "axis": {"grid": False}},
            "y": {"field": "nats", "type": "quantitative", "title": msg("nats"), "scale": {"zero": False}},
            "color": {
                "field": "of",
                "type": "nominal",
                "title": None,
                "scale": {"domain": [TRAINING, VALIDATION], "range": COLORS},
            },
        },
    }
