"""The differences of two models, and several models side by side, as pages."""

from __future__ import annotations

from msgspec import structs

from archcalc.analysis.comparison import (
    TOTAL_NAMES,
    FieldDifference,
    FigureDifference,
    ModelComparison,
    ModelDifference,
    ModelFigure,
)
from archcalc.render.page import Block, Page, Table, Text
from archcalc.render.tables import table
from archcalc.results import count, number
from archcalc.words import msg


def difference_view(result: ModelDifference, options: None = None) -> Page:
    """Return the page of what differs: parameters by component, then fields."""
    left, right = result.left, result.right if result.right != result.left else f"{result.right} (2)"
    rows = [row for row in result.params if row.left or row.right]
    params = table("", rows, FigureDifference, changes={"left": count(left), "right": count(right)})
    values = {"left": number(left, "value"), "right": number(right, "value")}
    fields: Block = (
        table(msg("Fields that differ"), result.fields, FieldDifference, changes=values)
        if result.fields
        else Text("", [msg("the architectures are the same")])
    )
    titles = (left, right) if result.left != result.right else (result.left_label, result.right_label)
    return Page(" → ".join(titles), msg("parameters, component by component"), [_with_totals(params), fields])


def view(result: ModelComparison, options: None = None) -> Page:
    """Return the page of sizes and parameters, a column for each model."""
    rows = (*result.sizes, *result.params)
    return Page(msg("Parameters side by side"), "", [_with_totals(table("", rows, ModelFigure))])


def _with_totals(params: Table) -> Table:
    """Return a table whose last rows are totals, set apart."""
    return structs.replace(params, n_sums=len(TOTAL_NAMES))
