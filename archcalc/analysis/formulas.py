"""Figures, weights, products and caches of a model and its workload as formulas with their values."""

from __future__ import annotations

from typing import TypedDict

from msgspec import structs

from archcalc.analysis.closed_form import Rewriter
from archcalc.analysis.figures import figures
from archcalc.analysis.lookup import NamedRow, look_up
from archcalc.analysis.memory import Dtype
from archcalc.analysis.model_workload import ModelWorkload
from archcalc.formats.element_types import element_bytes
from archcalc.ledger.algebra import Poly
from archcalc.ledger.rows import CacheRow, MatmulRow, WeightRow


class Formula(TypedDict, total=False):
    """A formula in symbols, as an equation in numbers, and its value; of a product also over attended pairs alone."""

    formula: str
    equation: str
    value: int
    kind: str
    causal_formula: str
    causal_value: int


def formulas(subject: ModelWorkload, wanted: str | None) -> dict[str, Formula]:
    """Return name → formula: every figure, or the figures and rows that `wanted` names.

    Raises InputError where `wanted` names nothing.
    """
    rewriter = workload_rewriter(subject)
    called, rows = figures(subject.ledger, subject.dtype), list[NamedRow]()
    if wanted is not None:
        called, rows = look_up(subject.ledger, subject.dtype, wanted)
    found = {figure.name: _formula(figure.formula, rewriter) for figure in called}
    return found | {one.name: _of_row(one.row, subject.dtype, rewriter) for one in rows}


def workload_rewriter(subject: ModelWorkload) -> Rewriter:
    """Return a rewriter of the ledger's formulas whose sizes are those of the workload too."""
    return Rewriter(structs.replace(subject.ledger, sizes=subject.ledger.at(subject.work)))


def _of_row(row: WeightRow | MatmulRow | CacheRow, dtype: Dtype, rewriter: Rewriter) -> Formula:
    """Parameters of a weight, FLOPs of a product, bytes of a cache."""
    if isinstance(row, CacheRow):
        return _formula(element_bytes(dtype) * row.formula, rewriter)
    found = _formula(row.formula, rewriter)
    if isinstance(row, MatmulRow):
        causal = _formula(row.causal_formula, rewriter)
        found["causal_formula"], found["causal_value"] = causal["formula"], causal["value"]
    return found


def _formula(poly: Poly, rewriter: Rewriter) -> Formula:
    return {
        "formula": str(rewriter.simplify(poly)),
        "equation": rewriter.equation(poly) if poly.terms else "0",
        "value": poly.at(rewriter.ledger.sizes),
        "kind": "exact",
    }
