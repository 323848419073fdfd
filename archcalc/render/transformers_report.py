"""What transformers counts of a model as a page."""

from __future__ import annotations

from msgspec import structs

from archcalc.analysis.transformers_report import (
    CountedComponent,
    CountedPart,
    CountedTotal,
    TransformersReport,
)
from archcalc.engines import LABEL
from archcalc.render.page import Page
from archcalc.render.tables import table
from archcalc.words import joined, msg


def beside(page: Page, result: TransformersReport) -> Page:
    """Return the page of a text model with all parts of the model, and who counted them."""
    title = msg(
        "The whole model, counted by transformers {version} ({class_name}), not derived",
        version=result.version,
        class_name=result.class_name,
    )
    return structs.replace(page, blocks=[*page.blocks, table(title, result.parts, CountedPart, total=msg("total"))])


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
