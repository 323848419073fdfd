"""Each figure's formula, in symbols and in numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from msgspec import structs

from archcalc.analysis.atoms import in_words, is_of_work
from archcalc.analysis.closed_form import MAX_TERMS, Relation, Rewriter
from archcalc.analysis.figures import Figure, figures, flops_figures, memory_figures, telling
from archcalc.analysis.memory import BYTES
from archcalc.ledger.algebra import Poly
from archcalc.ledger.types import CacheRow, Ledger, MatmulRow, Row
from archcalc.render.named import Leaf, meant
from archcalc.render.page import Block, Column, Page, Table, Text
from archcalc.render.report import Subject, axes, label, placed
from archcalc.spec import Spec
from archcalc.units import exact


def page(subject: Subject, wanted: str | None) -> Page:
    """The formulas of all totals of parameters, FLOPs and memory in short; or of what is called `wanted`.

    `wanted` is a figure of the report ('total', 'attention', 'flops.forward', 'memory.kv_cache_bytes'), or the path of
    a weight, a product or a cache ('*' matches anything; a part of a path will do).
    """
    rewriter = _at_work(subject)
    if wanted is None:
        called, more = telling(subject.ledger), [_in_short(subject, rewriter)]
        formulas = [figure.formula for figure in _of_work(subject)]
    else:
        called, leaves = meant(subject.ledger, subject.dtype, wanted)
        more = [_leaf(leaf, subject, rewriter) for leaf in leaves]
        formulas = [figure.formula for figure in called] + [poly for leaf in leaves for poly in _formulas(leaf.row)]
    blocks = [*(_figure(figure, rewriter) for figure in called), *more]
    return _page(subject.spec, [*blocks, *_symbols(rewriter.ledger, formulas)])


def _page(spec: Spec, blocks: Sequence[Block]) -> Page:
    return Page(spec.title or spec.name, f"{spec.name}: how each figure comes about", blocks)


def table_page(subject: Subject, wanted: str | None) -> Page:
    """The same as a table: what it is called, its formula and its value."""
    columns = (Column("figure"), Column("formula"), Column("value", "count"))
    rows = [(name, found["formula"], found["value"]) for name, found in data(subject, wanted).items()]
    return _page(subject.spec, [Table("", columns, rows)])


def data(subject: Subject, wanted: str | None) -> dict[str, Any]:
    """The same as plain data: figure or path → formula, equation, value; of a product also of attended pairs."""
    rewriter = _at_work(subject)
    called, leaves = figures(subject.ledger, subject.dtype), list[Leaf]()
    if wanted is not None:
        called, leaves = meant(subject.ledger, subject.dtype, wanted)
    found = {figure.name: _described(figure.formula, rewriter) for figure in called}
    for leaf in leaves:
        found[leaf.name] = _described(_cost(leaf.row, subject), rewriter)
        if isinstance(leaf.row, MatmulRow):
            causal = _described(leaf.row.causal_formula, rewriter)
            found[leaf.name] |= {"causal_formula": causal["formula"], "causal_value": causal["value"]}
    return found


def _described(formula: Poly, rewriter: Rewriter) -> dict[str, Any]:
    return {
        "formula": str(rewriter.simplify(formula)),
        "equation": rewriter.equation(formula) if formula.terms else "0",
        "value": formula.at(rewriter.ledger.sizes),
        "kind": "exact",
    }


def _at_work(subject: Subject) -> Rewriter:
    """Rewrites the ledger's formulas, whose sizes are those of the workload too."""
    return Rewriter(structs.replace(subject.ledger, sizes=subject.ledger.at(subject.work)))


def _of_work(subject: Subject) -> Iterator[Figure]:
    """The figures of a workload as a whole, as the report has them."""
    yield from (figure for figure in flops_figures(subject.ledger) if not figure.parts)
    yield from (figure for figure in memory_figures(subject.ledger, subject.dtype) if figure.formula.terms)


def _in_short(subject: Subject, rewriter: Rewriter) -> Text:
    """A line for each figure of a workload, what is a multiple of another as that."""
    known = telling(subject.ledger)[:1]
    lines = []
    for figure in _of_work(subject):
        lines.append(f"{figure.name}: {_terms(figure, known, rewriter)} = {_value(figure.formula, rewriter)}")
        known.append(figure)
    used = dict.fromkeys(relation for figure in known[1:] for relation in rewriter.used(figure.formula))
    return Text("FLOPs and memory", [*lines, *_with(used)])


def _terms(figure: Figure, known: Iterable[Figure], rewriter: Rewriter) -> str:
    for other in known:
        for factor in range(1, 5):
            if figure.formula == factor * other.formula:
                return f"{factor}·{other.name}"
    simple = rewriter.simplify(figure.formula)
    return str(simple) if len(simple.terms) <= MAX_TERMS else f"a sum of {len(simple.terms)} terms"


def _value(formula: Poly, rewriter: Rewriter) -> str:
    return exact(formula.at(rewriter.ledger.sizes))


def _figure(figure: Figure, rewriter: Rewriter) -> Text:
    parts = [(name, formula) for name, formula in figure.parts if formula.terms]
    lines = [f"{name}: {rewriter.equation(formula)}" for name, formula in parts] if len(parts) > 1 else []
    lines += rewriter.steps(figure.formula) if figure.formula.terms else ["0: the model has none"]
    return Text(f"{figure.name}: {figure.meaning}", [*lines, *_with(rewriter.used(figure.formula))])


def _with(relations: Iterable[Relation]) -> list[str]:
    """The line that says what of the sizes a formula draws on, if anything."""
    return ["with " + words] if (words := ", ".join(map(str, relations))) else []


def _leaf(leaf: Leaf, subject: Subject, rewriter: Rewriter) -> Text:
    match leaf.row:
        case Row() as row:
            return _weight(row, subject.ledger, rewriter)
        case MatmulRow() as row:
            return _product(row, rewriter)
        case CacheRow() as row:
            return _cache(row, subject, rewriter)


def _formulas(row: Row | MatmulRow | CacheRow) -> list[Poly]:
    """All that a row's block shows."""
    return [row.formula, row.causal_formula] if isinstance(row, MatmulRow) else [row.formula]


def _cost(row: Row | MatmulRow | CacheRow, subject: Subject) -> Poly:
    """Parameters of a weight, FLOPs of a product, bytes of a cache."""
    return BYTES[subject.dtype] * row.formula if isinstance(row, CacheRow) else row.formula


def _weight(row: Row, ledger: Ledger, rewriter: Rewriter) -> Text:
    lines = [
        f"axes {axes(row)} = {list(row.shape)}",
        f"each: {_each(row.weight.axes)} = {exact(row.count)}",
        f"{_over(row.layers)}: {rewriter.equation(row.formula)}",
    ]
    if row.weight.active_axes:
        lines.append(f"active: {rewriter.equation(row.active_formula)}")
    lines += [*_with(rewriter.used(row.formula)), _share(row, ledger)]
    return Text(f"{label(row)}: {row.component}, {row.kind}", lines)


def _product(row: MatmulRow, rewriter: Rewriter) -> Text:
    """A matrix product's FLOPs: with all keys that are held, and with the pairs that are attended."""
    sizes, every = rewriter.ledger.sizes, row.matmul.axes
    lines = [
        _axes(every, sizes),
        f"each: 2 · {_each(every)} = {exact(row.formula.at(sizes) // row.layers)}",
        f"{_over(row.layers)}: {rewriter.equation(row.formula)}",
    ]
    if row.matmul.causal_axes:
        lines += [
            _axes(row.matmul.causal_axes, sizes, "causal axes"),
            f"causal: {rewriter.equation(row.causal_formula)}",
        ]
    lines += _with(rewriter.used(row.formula))
    whole = sum(each.formula.at(sizes) for each in rewriter.ledger.matmuls)
    lines.append(f"{100 * row.formula.at(sizes) / whole:.4f} % of {exact(whole)}")
    return Text(f"{placed(row.path, row.group)}: {row.component}, product, FLOPs", lines)


def _cache(row: CacheRow, subject: Subject, rewriter: Rewriter) -> Text:
    size = BYTES[subject.dtype]
    lines = [
        _axes(row.cache.axes, rewriter.ledger.sizes, "axes of each sequence"),
        f"elements {_over(max(1, len(row.turns)))}: {rewriter.equation(row.formula)}",
        f"in {subject.dtype}: {size} · {_value(row.formula, rewriter)} = {_value(size * row.formula, rewriter)}",
        *_with(rewriter.used(row.formula)),
    ]
    return Text(f"{placed(row.path, row.group)}: cache, bytes", lines)


def _axes(found: Sequence[Poly], sizes: Any, name: str = "axes") -> str:
    return f"{name} [{', '.join(map(str, found))}] = {[axis.at(sizes) for axis in found]}"


def _each(found: Sequence[Poly]) -> str:
    return " · ".join(axis.factored() for axis in found)


def _over(layers: int) -> str:
    return f"over {layers} {'layer' if layers == 1 else 'layers'}"


def _share(row: Row, ledger: Ledger) -> str:
    if row in ledger.tied:
        return "tied: stored once, as the token table; counted only where the head is counted apart (untied)"
    if not row.counted:
        return "a buffer: stored, but in no total"
    return f"{100 * row.total / ledger.total():.4f} % of {exact(ledger.total())}"


def _symbols(ledger: Ledger, formulas: Iterable[Poly]) -> list[Block]:
    """The model's dimensions; and where a formula names them, the workload's."""
    named = set().union(*(formula.symbols() for formula in formulas))
    work = {symbol for symbol in named if is_of_work(symbol)}
    windows = {window[:-1] for symbol in work if (window := symbol.partition("(")[2])}
    own = named - work | windows
    own.update(*(row.formula.symbols() | row.active_formula.symbols() for row in ledger.rows))
    blocks: list[Block] = [Text("Dimensions", [", ".join(f"{name} = {ledger.sizes[name]}" for name in sorted(own))])]
    return [*blocks, Text("Workload", in_words(work, ledger.sizes))] if work else blocks
