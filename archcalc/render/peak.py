"""The peak of a training step as page blocks."""

from __future__ import annotations

from archcalc.analysis.peak import MOMENT_NAMES, Moment, PeakCategory, StepPeak
from archcalc.render.page import Block, Table, Text
from archcalc.render.tables import table
from archcalc.words import Bytes, Message, msg


def blocks(result: StepPeak) -> list[Block]:
    """Return the moments of a step and its peak, and what was measured."""
    found: list[Block] = [_moments(result)]
    if result.categories:
        title = msg("The peak beside PyTorch's memory tracker on fake CPU tensors (measured)")
        found.append(table(title, result.categories, PeakCategory, total=msg("total")))
    if result.measured_bytes is not None:
        found.append(Text(msg("Measured on this machine"), [_measured(result)]))
    return found


def _moments(result: StepPeak) -> Table:
    top = [moment for moment in result.moments if moment.moment == result.moment]
    total = msg("peak: {moment}", moment=MOMENT_NAMES[result.moment])
    return table(msg("Peak of a step (modeled)"), result.moments, Moment, total=total, counted=top)


def _measured(result: StepPeak) -> Message:
    """Return the measured bytes beside the modeled ones."""
    values = {
        "measured": Bytes(result.measured_bytes or 0),
        "modeled": Bytes(result.bytes),
        "difference": f"{result.relative_difference:+.1%}",
    }
    if result.measure == "fake":
        return msg("PyTorch's memory tracker: {measured}; modeled: {modeled} ({difference})", **values)
    return msg("growth of a process: {measured}; modeled: {modeled} ({difference})", **values)
