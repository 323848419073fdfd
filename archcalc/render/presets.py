"""The presets as a page."""

from __future__ import annotations

from archcalc import presets
from archcalc.analysis.preset_totals import PresetList, PresetTotals
from archcalc.render.page import Page
from archcalc.render.tables import table
from archcalc.words import joined, msg


def view(result: PresetList, options: None = None) -> Page:
    """Return the page of the presets and their short names."""
    aliases = (msg("{name} is short for {full}", name=name, full=full) for name, full in presets.ALIASES.items())
    return Page(msg("Presets"), joined(", ", aliases), [table("", result, PresetTotals)])
