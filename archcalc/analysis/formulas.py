"""Figures, weights, products and caches of a model and its workload as formulas with their values."""

from __future__ import annotations

from typing import Annotated

from msgspec import structs

from archcalc.analysis.closed_form import Rewriter
from archcalc.analysis.figures import figures
from archcalc.analysis.lookup import NamedRow, look_up
from archcalc.analysis.memory import Dtype
from archcalc.analysis.model_workload import ModelWorkload
from archcalc.formats.element_types import element_bytes
from archcalc.ledger.algebra import Poly
from archcalc.ledger.rows import CacheRow, MatmulRow
from archcalc.results import Result, Row, Sureness, count, data, text
from archcalc.spec.workload import Workload
from archcalc.words import msg


class FigureFormula(Row, frozen=True, kw_only=True):
    """A figure as a formula; that of a matrix product also over the attended pairs alone.

    `expression` is in symbols only, `formula` goes on to numbers and the value.
    """

    figure: Annotated[str, text(msg("figure"))]
    expression: Annotated[str, text(msg("formula"))]
    formula: Annotated[str, data(msg("formula in symbols, in numbers, and its value"))]
    value: Annotated[int, count(msg("value"))]
    causal_expression: Annotated[str | None, data(msg("formula over the attended pairs alone"))] = None
    causal_formula: Annotated[str | None, data(msg("the same in symbols, in numbers, and its value"))] = None
    causal_value: Annotated[int | None, data(msg("value over the attended pairs alone"))] = None
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))] = "exact"


class Explanation(Result, frozen=True, kw_only=True):
    """Figures of a model and a workload as formulas."""

    name: Annotated[str, data(msg("name of the model"))]
    label: Annotated[str, data(msg("title of the model"))]
    workload: Annotated[Workload, data(msg("workload"))]
    dtype: Annotated[Dtype, data(msg("dtype of weights and caches"))]
    formulas: Annotated[tuple[FigureFormula, ...], data(msg("formulas"))]


def explanation(subject: ModelWorkload, wanted: str | None) -> Explanation:
    """Return the formulas of every figure, or of the figures and rows that `wanted` names.

    Raises InputError if `wanted` names nothing.
    """
    spec, rewriter = subject.spec, workload_rewriter(subject)
    called, rows = figures(subject.ledger, subject.dtype), list[NamedRow]()
    if wanted is not None:
        called, rows = look_up(subject.ledger, subject.dtype, wanted)
    formulas = [
        *(_formula(figure.name, figure.formula, rewriter) for figure in called),
        *(_of_row(row, subject.dtype, rewriter) for row in rows),
    ]
    return Explanation(
        name=spec.name, label=spec.label, workload=subject.work, dtype=subject.dtype, formulas=tuple(formulas)
    )


def workload_rewriter(subject: ModelWorkload) -> Rewriter:
    """Return a rewriter of the ledger's formulas with the sizes of the workload."""
    return Rewriter(structs.replace(subject.ledger, sizes=subject.ledger.at(subject.work)))


def _of_row(named: NamedRow, dtype: Dtype, rewriter: Rewriter) -> FigureFormula:
    """Return the parameters of a weight, the FLOPs of a product or the bytes of a cache."""
    row = named.row
    if isinstance(row, CacheRow):
        return _formula(named.name, element_bytes(dtype) * row.formula, rewriter)
    formula = _formula(named.name, row.formula, rewriter)
    if not isinstance(row, MatmulRow):
        return formula
    causal = _formula(named.name, row.causal_formula, rewriter)
    return structs.replace(
        formula, causal_expression=causal.expression, causal_formula=causal.formula, causal_value=causal.value
    )


def _formula(name: str, poly: Poly, rewriter: Rewriter) -> FigureFormula:
    return FigureFormula(
        figure=name,
        expression=str(rewriter.simplify(poly)),
        formula=rewriter.equation(poly) if poly.terms else "0",
        value=poly.at(rewriter.ledger.sizes),
    )
