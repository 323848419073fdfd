"""The formulas of figures in symbols and in numbers, as a page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from archcalc.analysis.atoms import is_of_work
from archcalc.analysis.closed_form import MAX_TERMS, Relation, Rewriter
from archcalc.analysis.figures import Figure, flops_figures, memory_figures, notable_params_figures
from archcalc.analysis.formulas import Explanation, FigureFormula, workload_rewriter
from archcalc.analysis.lookup import NamedRow, look_up
from archcalc.analysis.model_workload import ModelWorkload
from archcalc.analysis.row_names import axes_text, path_in_group
from archcalc.analysis.value_names import COMPONENT_NAMES, KIND_NAMES
from archcalc.formats.element_types import element_bytes
from archcalc.ledger.algebra import Poly
from archcalc.ledger.leaves import COMPONENTS
from archcalc.ledger.rows import CacheRow, Ledger, MatmulRow, WeightRow
from archcalc.ledger.tokens import symbol_parts
from archcalc.render.page import Block, Page, Text
from archcalc.render.symbols import symbol_lines
from archcalc.render.tables import table
from archcalc.units import exact
from archcalc.words import Message, joined, msg, plural

_PARTS = {
    "weights": msg("weights"),
    "biases": msg("biases"),
    "tokens_by_weights": msg("tokens by weights"),
    "tokens_by_tokens": msg("tokens by tokens"),
    "others": msg("others"),
}
# What each figure of the report counts.
_FIGURES = {
    "total": msg("every stored tensor once"),
    "untied": msg("the tied head's matrix counted beside the table"),
    "active": msg("what one token uses, embedding and head included"),
    "active_without_input_embedding": msg("what one token uses beyond its embedding"),
    "active_without_embedding_and_head": msg("what one token uses beyond its embedding and the head"),
    "without_per_layer_embedding": msg("without the table of per-layer embeddings"),
    "non_embedding": msg("without embedding, positions and head"),
    "trainable": msg("what training changes"),
    "frozen": msg("stored and counted, not trained"),
    "buffers": msg("stored beside the parameters, in no total"),
    "flops.forward": msg("every key that a layer holds is multiplied"),
    "flops.forward_causal": msg("only the pairs that are attended"),
    "flops.backward": msg("each product twice: for its input's gradient and its weight's"),
    "flops.train_step": msg("forward and backward"),
    "memory.weights_bytes": msg("all parameters in {dtype}, {bytes} each"),
    "memory.kv_cache_bytes": msg("all keys and values kept, in {dtype}, {bytes} each"),
    "memory.state_bytes": msg("the state of recurrent layers"),
    "memory.activations_bytes": msg("what autograd keeps of a training step, eagerly"),
    "per_layer_embedding": msg("all of the component {component}"),
    "embedding": msg("all of the component {component}"),
    "position": msg("all of the component {component}"),
    "attention": msg("all of the component {component}"),
    "ffn": msg("all of the component {component}"),
    "mixer": msg("all of the component {component}"),
    "norm": msg("all of the component {component}"),
    "head": msg("all of the component {component}"),
    "other": msg("all of the component {component}"),
    "flops.per_layer_embedding": msg("forward, all of the component {component}"),
    "flops.embedding": msg("forward, all of the component {component}"),
    "flops.position": msg("forward, all of the component {component}"),
    "flops.attention": msg("forward, all of the component {component}"),
    "flops.ffn": msg("forward, all of the component {component}"),
    "flops.mixer": msg("forward, all of the component {component}"),
    "flops.norm": msg("forward, all of the component {component}"),
    "flops.head": msg("forward, all of the component {component}"),
    "flops.other": msg("forward, all of the component {component}"),
}


class ExplainOptions(msgspec.Struct, frozen=True):
    """The figures and rows to explain: all totals if None.

    A figure is called as in the report ('total', 'attention', 'flops.forward', 'memory.kv_cache_bytes'). A weight, a
    product or a cache is named by its path, or a part of it; '*' matches anything.
    """

    row: str | None = None


def view(subject: ModelWorkload, options: ExplainOptions) -> Page:
    """Return the page of formulas in symbols and in numbers. Raises InputError if `row` names nothing."""
    rewriter = workload_rewriter(subject)
    if options.row is None:
        called, more = notable_params_figures(subject.ledger), [_in_short(subject, rewriter)]
        polys = [figure.formula for figure in _of_work(subject)]
    else:
        called, rows = look_up(subject.ledger, subject.dtype, options.row)
        more = [_row(one, subject, rewriter) for one in rows]
        polys = [figure.formula for figure in called] + [poly for one in rows for poly in _formulas(one.row)]
    blocks = [*(_figure(figure, subject, rewriter) for figure in called), *more]
    return Page(subject.spec.label, _subtitle(subject.spec.name), [*blocks, *_symbols(rewriter.ledger, polys)])


def table_view(result: Explanation, options: None = None) -> Page:
    """Return the page of the formulas as a table."""
    return Page(result.label, _subtitle(result.name), [table("", result.formulas, FigureFormula)])


def _subtitle(name: str) -> Message:
    return msg("{name}: how each figure comes about", name=name)


def _of_work(subject: ModelWorkload) -> Iterator[Figure]:
    """Yield the figures of a workload that the report has."""
    yield from (figure for figure in flops_figures(subject.ledger) if not figure.parts)
    yield from (figure for figure in memory_figures(subject.ledger, subject.dtype) if figure.formula.terms)


def _in_short(subject: ModelWorkload, rewriter: Rewriter) -> Text:
    """Return a line for each figure of a workload; a multiple of another figure is written as that."""
    known = notable_params_figures(subject.ledger)[:1]
    lines: list[Message] = []
    for figure in _of_work(subject):
        equation = joined(" = ", (_terms(figure, known, rewriter), _value(figure.formula, rewriter)))
        lines.append(msg("{name}: {formula}", name=figure.name, formula=equation))
        known.append(figure)
    used = dict.fromkeys(relation for figure in known[1:] for relation in rewriter.used(figure.formula))
    return Text(msg("FLOPs and memory"), [*lines, *_with(used)])


def _terms(figure: Figure, known: Iterable[Figure], rewriter: Rewriter) -> str | Message:
    for other in known:
        for factor in range(1, 5):
            if figure.formula == factor * other.formula:
                return f"{factor}·{other.name}"
    simple = rewriter.simplify(figure.formula)
    return str(simple) if len(simple.terms) <= MAX_TERMS else msg("a sum of {n} terms", n=len(simple.terms))


def _value(formula: Poly, rewriter: Rewriter) -> str:
    return exact(formula.at(rewriter.ledger.sizes))


def _figure(figure: Figure, subject: ModelWorkload, rewriter: Rewriter) -> Text:
    parts = [(_PARTS[name], formula) for name, formula in figure.parts if formula.terms]
    lines: list[str | Message] = []
    if len(parts) > 1:
        lines += (msg("{name}: {formula}", name=name, formula=rewriter.equation(formula)) for name, formula in parts)
    lines += rewriter.steps(figure.formula) if figure.formula.terms else [msg("0: the model has none")]
    title = msg("{name}: {meaning}", name=figure.name, meaning=_meaning(figure, subject))
    return Text(title, [*lines, *_with(rewriter.used(figure.formula))])


def _meaning(figure: Figure, subject: ModelWorkload) -> Message:
    """Return what a figure counts, with the name of its component or the size of its elements."""
    each = plural("{n} byte", "{n} bytes", n=element_bytes(subject.dtype))
    component = figure.name.removeprefix("flops.")
    name = COMPONENT_NAMES[component] if component in COMPONENTS else ""
    return _FIGURES[figure.name].fill(component=name, dtype=subject.dtype, bytes=each)


def _with(relations: Iterable[Relation]) -> list[Message]:
    """Return the line of the relations that a formula uses, if there are any."""
    used = ", ".join(map(str, relations))
    return [msg("with {relations}", relations=used)] if used else []


def _row(named: NamedRow, subject: ModelWorkload, rewriter: Rewriter) -> Text:
    match named.row:
        case WeightRow() as row:
            return _weight(row, subject.ledger, rewriter)
        case MatmulRow() as row:
            return _product(row, rewriter)
        case CacheRow() as row:
            return _cache(row, subject, rewriter)


def _formulas(row: WeightRow | MatmulRow | CacheRow) -> list[Poly]:
    """Return the formulas of a row's block."""
    return [row.formula, row.causal_formula] if isinstance(row, MatmulRow) else [row.formula]


def _weight(row: WeightRow, ledger: Ledger, rewriter: Rewriter) -> Text:
    lines: list[str | Message] = [
        joined(" ", (msg("axes"), f"{axes_text(row)} = {list(row.shape)}")),
        msg("each: {formula}", formula=f"{_each(row.weight.axes)} = {exact(row.count)}"),
        msg("{name}: {formula}", name=_over(row.layers), formula=rewriter.equation(row.formula)),
    ]
    if row.weight.active_axes:
        lines.append(msg("active: {formula}", formula=rewriter.equation(row.active_formula)))
    lines += [*_with(rewriter.used(row.formula)), _share(row, ledger)]
    kind, component = KIND_NAMES[row.kind], COMPONENT_NAMES[row.component]
    return Text(msg("{name}: {component}, {kind}", name=_label(row), component=component, kind=kind), lines)


def _label(row: WeightRow) -> str | Message:
    """Return a row's path, with its layers where not all have it, and its kind where that is not trainable."""
    path = path_in_group(row.path, row.group)
    return path if row.kind == "trainable" else joined("", (path, " (", KIND_NAMES[row.kind], ")"))


def _product(row: MatmulRow, rewriter: Rewriter) -> Text:
    """Return the FLOPs of a matrix product, over every key that a layer holds and over the attended pairs."""
    sizes, axes = rewriter.ledger.sizes, row.matmul.axes
    flops, whole = row.formula.at(sizes), sum(each.formula.at(sizes) for each in rewriter.ledger.matmuls)
    lines: list[str | Message] = [
        _axes(msg("axes"), axes, sizes),
        msg("each: {formula}", formula=f"2 · {_each(axes)} = {exact(flops // row.layers)}"),
        msg("{name}: {formula}", name=_over(row.layers), formula=rewriter.equation(row.formula)),
    ]
    if row.matmul.causal_axes:
        lines += [
            _axes(msg("causal axes"), row.matmul.causal_axes, sizes),
            msg("causal: {formula}", formula=rewriter.equation(row.causal_formula)),
        ]
    lines += _with(rewriter.used(row.formula))
    lines.append(msg("{percent:.4f} % of {whole}", percent=100 * flops / whole, whole=exact(whole)))
    name, component = path_in_group(row.path, row.group), COMPONENT_NAMES[row.component]
    return Text(msg("{name}: {component}, product, FLOPs", name=name, component=component), lines)


def _cache(row: CacheRow, subject: ModelWorkload, rewriter: Rewriter) -> Text:
    size, over = element_bytes(subject.dtype), _over(max(1, len(row.layer_indices)))
    in_bytes = f"{size} · {_value(row.formula, rewriter)} = {_value(size * row.formula, rewriter)}"
    lines = [
        _axes(msg("axes of each sequence"), row.cache.axes, rewriter.ledger.sizes),
        msg("elements {over}: {formula}", over=over, formula=rewriter.equation(row.formula)),
        msg("in {dtype}: {formula}", dtype=subject.dtype, formula=in_bytes),
        *_with(rewriter.used(row.formula)),
    ]
    return Text(msg("{name}: cache, bytes", name=path_in_group(row.path, row.group)), lines)


def _axes(name: Message, axes: Sequence[Poly], sizes: Mapping[str, int]) -> Message:
    return joined(" ", (name, f"[{', '.join(map(str, axes))}] = {[axis.at(sizes) for axis in axes]}"))


def _each(axes: Sequence[Poly]) -> str:
    return " · ".join(axis.factored() for axis in axes)


def _over(layers: int) -> Message:
    return plural("over {n} layer", "over {n} layers", n=layers)


def _share(row: WeightRow, ledger: Ledger) -> Message:
    if row in ledger.tied:
        return msg("tied: stored once, as the token table; counted only where the head is counted apart (untied)")
    if not row.is_counted:
        return msg("a buffer: stored, but in no total")
    return msg("{percent:.4f} % of {whole}", percent=100 * row.total / ledger.total(), whole=exact(ledger.total()))


def _symbols(ledger: Ledger, formulas: Iterable[Poly]) -> list[Block]:
    """Return the model's dimensions, and the workload's if a formula uses them."""
    used = set().union(*(formula.symbols() for formula in formulas))
    work = {symbol for symbol in used if is_of_work(symbol)}
    own = used - work | {name for symbol in work for name in symbol_parts(symbol)[1]}
    own.update(*(row.formula.symbols() | row.active_formula.symbols() for row in ledger.rows))
    sizes = ", ".join(f"{name} = {ledger.sizes[name]}" for name in sorted(own))
    blocks: list[Block] = [Text(msg("Dimensions"), [sizes])]
    return [*blocks, Text(msg("Workload"), symbol_lines(work, ledger.sizes))] if work else blocks
