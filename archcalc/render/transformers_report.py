"""What transformers counts of a model as a page."""

from __future__ import annotations

from archcalc.analysis.transformers_report import (
    LABEL,
    CountedComponent,
    CountedPart,
    CountedTotal,
    TransformersReport,
)
from archcalc.render.page import Page
from archcalc.render.tables import table
from archcalc.words import joined, msg


def view(result: TransformersReport, options: None = None) -> Page:
    """Return the page of the components, the modules and the totals, under the sentence that says who counted."""
    return Page(
        result.name,
        joined(
            " · ",
            (LABEL, f"transformers {result.version}", result.class_name, msg("weights {dtype}", dtype=result.dtype)),
        ),
        [
            table(msg("Parameters"), result.components, CountedComponent, total=msg("total")),
            table(msg("By module"), result.parts, CountedPart, total=msg("total")),
            table(msg("Totals"), result.totals, CountedTotal),
        ],
    )
