"""Parameters of the presets."""

from __future__ import annotations

from typing import Annotated

from archcalc import presets
from archcalc.analysis.params import summary
from archcalc.ledger.build import build
from archcalc.results import Row, Sureness, count, data, number, text
from archcalc.sources import load
from archcalc.words import in_context, msg


class PresetTotals(Row, frozen=True, kw_only=True):
    """The parameters of a preset, and the sources of its sizes."""

    name: Annotated[str, text(msg("preset"))]
    family: Annotated[str, text(msg("family"))]
    parameters: Annotated[int, count(msg("parameters"), rounded="count")]
    active: Annotated[int, number(msg("active"), "human")]
    source: Annotated[str, text(in_context("of a preset", "source"))]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))] = "exact"


PresetList = list[PresetTotals]


def preset_totals() -> PresetList:
    """Return the totals of all presets, sorted by name."""
    return [_totals(name) for name in presets.names()]


def _totals(name: str) -> PresetTotals:
    spec = load(name)
    totals = summary(build(spec))
    return PresetTotals(
        name=spec.name,
        family=spec.family,
        parameters=totals["total"],
        active=totals["active"],
        source="; ".join(spec.about.sources),
    )
