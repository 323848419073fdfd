"""Figures, weights, products and caches of a model and its workload as formulas with their values."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import takewhile
from typing import Annotated, Any

import msgspec
from msgspec import structs

from archcalc.analysis.atoms import is_of_work
from archcalc.analysis.closed_form import Rewriter
from archcalc.analysis.figure_formula import AnyPart, FigureFormula, FormulaPart, FormulaTerms
from archcalc.analysis.figure_meanings import figure_meaning
from archcalc.analysis.figures import Figure, figures
from archcalc.analysis.lookup import NamedRow, look_up
from archcalc.analysis.memory import Dtype
from archcalc.analysis.model_workload import ModelWorkload
from archcalc.analysis.row_names import path_in_group
from archcalc.analysis.value_names import COMPONENT_NAMES, KIND_NAMES
from archcalc.analysis.workload_symbols import WorkloadSymbol, workload_symbols
from archcalc.formats.element_types import element_bytes
from archcalc.ledger.algebra import Poly
from archcalc.ledger.rows import CacheRow, Ledger, MatmulRow, WeightRow
from archcalc.ledger.tokens import symbol_parts
from archcalc.results import Result, data
from archcalc.spec.workload import Workload
from archcalc.units import exact
from archcalc.words import Message, msg


class Explanation(Result, frozen=True, kw_only=True):
    """Figures of a model and a workload as formulas, and the sizes in them; `row` is what was asked for, None if all.

    `symbols` are the sizes of the workload, where a formula has one.
    """

    name: Annotated[str, data(msg("name of the model"))]
    label: Annotated[str, data(msg("title of the model"))]
    workload: Annotated[Workload, data(msg("workload"))]
    dtype: Annotated[Dtype, data(msg("dtype of weights and caches"))]
    row: Annotated[str | None, data(msg("figure or path"))]
    formulas: Annotated[tuple[FigureFormula, ...], data(msg("formulas"))]
    dimensions: Annotated[dict[str, int], data(msg("dimensions"))]
    symbols: Annotated[tuple[WorkloadSymbol, ...], data(msg("symbols of the workload"))]


def explanation(subject: ModelWorkload, row: str | None) -> Explanation:
    """Return the formulas of every figure, or of the figures and rows that `row` names.

    Raises InputError if `row` names nothing.
    """
    ledger, sizes = subject.ledger, subject.ledger.at(subject.work)
    called, rows = figures(subject), list[NamedRow]()
    totals = [figure for figure in called if not figure.component]
    if row is not None:
        called, rows = look_up(subject, row)
    explainer = _Explainer(Rewriter(structs.replace(ledger, sizes=sizes)), subject.dtype, totals)
    symbols = set().union(*(figure.formula.symbols() for figure in called), *(_symbols(one.row) for one in rows))
    of_work = {symbol for symbol in symbols if is_of_work(symbol)}
    return Explanation(
        name=subject.spec.name,
        label=subject.spec.label,
        workload=subject.work,
        dtype=subject.dtype,
        row=row,
        formulas=(*map(explainer.figure, called), *map(explainer.row, rows)),
        dimensions={name: sizes[name] for name in sorted(_dimensions(ledger, symbols, of_work))},
        symbols=tuple(workload_symbols(of_work, sizes)) if of_work else (),
    )


def _symbols(row: WeightRow | MatmulRow | CacheRow) -> set[str]:
    causal = row.causal_formula.symbols() if isinstance(row, MatmulRow) else set()
    return row.formula.symbols() | causal


def _dimensions(ledger: Ledger, symbols: set[str], of_work: set[str]) -> set[str]:
    """Return the model's sizes that formulas name, those in the workload's symbols, and those of all weights."""
    named = symbols - of_work | {name for symbol in of_work for name in symbol_parts(symbol)[1]}
    return named.union(*(row.formula.symbols() | row.active_formula.symbols() for row in ledger.rows))


class _Explainer(msgspec.Struct, frozen=True, dict=True):
    """Writes figures and rows as formulas; `totals` are the figures that another may be a multiple of."""

    rewriter: Rewriter
    dtype: Dtype
    totals: Sequence[Figure]

    def figure(self, figure: Figure) -> FigureFormula:
        """Return a figure with its parts, where it has several."""
        parts = [(name, poly) for name, poly in figure.parts if poly.terms]
        return FigureFormula(
            figure=figure.name,
            what="figure",
            meaning=figure_meaning(figure, self.dtype),
            multiple_of=self._multiple(figure),
            parts=tuple(self._part(name, poly) for name, poly in parts) if len(parts) > 1 else (),
            **self._formula(figure.formula),
        )

    def _multiple(self, figure: Figure) -> str | None:
        for other in takewhile(lambda other: other.name != figure.name, self.totals):
            for factor in range(1, 5):
                if figure.formula.terms and figure.formula == factor * other.formula:
                    return f"{factor}·{other.name}" if factor > 1 else other.name
        return None

    def row(self, named: NamedRow) -> FigureFormula:
        """Return the parameters of a weight, the FLOPs of a product or the bytes of a cache."""
        match named.row:
            case WeightRow() as row:
                fields = self._weight(row)
            case MatmulRow() as row:
                fields = self._product(row)
            case CacheRow() as row:
                fields = self._cache(row)
        return FigureFormula(figure=named.name, path=path_in_group(row.path, row.group), **fields)

    def _weight(self, row: WeightRow) -> dict[str, Any]:
        n_parameters = self.rewriter.ledger.total()
        fields = self._formula(row.formula) | self._axes(row.weight.axes)
        if row.weight.active_axes:
            fields |= {"active_formula": self._equation(row.active_formula), "active_value": row.active}
        note = self._note(row)
        return fields | {
            "what": "weight",
            "meaning": msg("{component}, {kind}", component=COMPONENT_NAMES[row.component], kind=KIND_NAMES[row.kind]),
            "layers": row.layers,
            "parts": (_each(row.weight.axes, row.count),),
            "share": None if note else row.total / n_parameters,
            "share_of": None if note else n_parameters,
            "note": note,
        }

    def _note(self, row: WeightRow) -> Message | None:
        if row in self.rewriter.ledger.tied:
            return msg("tied: stored once, as the token table; counted only where the head is counted apart (untied)")
        return None if row.is_counted else msg("a buffer: stored, but in no total")

    def _product(self, row: MatmulRow) -> dict[str, Any]:
        """Return the FLOPs of a product over every key that a layer holds, and over the attended pairs alone."""
        flops = self._value(row.formula)
        fields = self._formula(row.formula) | self._axes(row.matmul.axes)
        causal = self._formula(row.causal_formula)
        fields |= {f"causal_{name}": causal[name] for name in ("expression", "formula", "value")}
        if row.matmul.causal_axes:
            fields |= {f"causal_{name}": axes for name, axes in self._axes(row.matmul.causal_axes).items()}
        return fields | {
            "what": "product",
            "meaning": msg("{component}, product, FLOPs", component=COMPONENT_NAMES[row.component]),
            "layers": row.layers,
            "parts": (_each((2, *row.matmul.axes), flops // row.layers),),
            "share": flops / self._forward_flops,
            "share_of": self._forward_flops,
        }

    def _cache(self, row: CacheRow) -> dict[str, Any]:
        return {
            **self._formula(element_bytes(self.dtype) * row.formula),
            **self._axes(row.cache.axes),
            "what": "cache",
            "meaning": msg("cache, bytes"),
            "layers": max(1, len(row.layer_indices)),
            "parts": (self._part("elements", row.formula),),
        }

    @cached_property
    def _forward_flops(self) -> int:
        return sum(self._value(row.formula) for row in self.rewriter.ledger.matmuls)

    def _formula(self, poly: Poly) -> dict[str, Any]:
        simple = self.rewriter.simplify(poly)
        parts = self.rewriter.parts(poly)
        return {
            "expression": str(simple),
            "formula": self._equation(poly),
            "value": self._value(poly),
            "n_terms": len(simple.terms),
            "terms": tuple(FormulaTerms(expression=part.factored(), value=self._value(part)) for part in parts),
            "relations": tuple(map(str, self.rewriter.used(poly))),
        }

    def _part(self, name: AnyPart, poly: Poly) -> FormulaPart:
        return FormulaPart(part=name, formula=self._equation(poly), value=self._value(poly))

    def _equation(self, poly: Poly) -> str:
        return self.rewriter.equation(poly) if poly.terms else "0"

    def _axes(self, axes: Sequence[Poly]) -> dict[str, tuple[Any, ...]]:
        return {"axes": tuple(map(str, axes)), "shape": tuple(map(self._value, axes))}

    def _value(self, poly: Poly) -> int:
        return int(poly.at(self.rewriter.ledger.sizes))


def _each(factors: Sequence[Poly | int], value: int) -> FormulaPart:
    """Return what one tensor holds, or one layer computes, as the product of its axes."""
    product = " · ".join(factor.factored() if isinstance(factor, Poly) else str(factor) for factor in factors)
    return FormulaPart(part="each", formula=f"{product} = {exact(value)}", value=value)
