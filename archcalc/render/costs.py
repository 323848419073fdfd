"""The costs of one workload on several models as a page."""

from __future__ import annotations

from archcalc.analysis.costs import CostFigure, WorkloadCosts
from archcalc.render.page import Page
from archcalc.render.tables import table
from archcalc.words import msg


def view(result: WorkloadCosts, options: None = None) -> Page:
    """Return the page with a row for each figure that any model has, and a column for each model."""
    title = msg("{batch:,} × {seq:,} tokens, {dtype}", batch=result.batch, seq=result.seq, dtype=result.dtype)
    rows = [row for row in result.figures if any(row.models.values())]
    return Page(msg("A workload's costs side by side"), msg("exact"), [table(title, rows, CostFigure)])
