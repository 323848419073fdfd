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

    A long run has means over several steps, a thousand points at most.
    """
    n_steps = -(-len(losses) // MAX_POINTS)
    parts = [losses[start : start + n_steps] for start in range(0, len(losses), n_steps)]
    values = [{"step": 1 + i * n_steps, "nats": sum(part) / len(part), "set": TRAINING} for i, part in enumerate(parts)]
    values += [{"step": row.step, "nats": row.nats, "set": VALIDATION} for row in result.validations]
    subtitle = [msg("cross-entropy in nats per target, measured; {n:,} steps", n=len(losses))]
    if n_steps > 1:
        subtitle.append(msg("each point is the mean of {n} steps", n=n_steps))
    return {
        **FRAME,
        "title": title(msg("{name}: loss", name=result.name), subtitle),
        "data": {"values": values},
        "mark": {"type": "line", "tooltip": True, "strokeWidth": 2},
        "encoding": {
            "x": {"field": "step", "type": "quantitative", "title": msg("step"), "axis": {"grid": False}},
            "y": {"field": "nats", "type": "quantitative", "title": msg("nats"), "scale": {"zero": False}},
            "color": {
                "field": "set",
                "type": "nominal",
                "title": None,
                "scale": {"domain": [TRAINING, VALIDATION], "range": COLORS},
            },
        },
    }
