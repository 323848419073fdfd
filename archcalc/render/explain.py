"""Each figure's formula, in symbols and in numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from archcalc.analysis.atoms import is_of_work
from archcalc.analysis.closed_form import MAX_TERMS, Relation, Rewriter
from archcalc.analysis.figures import Figure, flops_figures, memory_figures, telling
from archcalc.analysis.formulas import formulas, workload_rewriter
from archcalc.analysis.lookup import NamedRow, look_up
from archcalc.analysis.model_workload import ModelWorkload
from archcalc.analysis.row_names import axes_text, path_in_group
from archcalc.analysis.value_names import COMPONENT_NAMES, KIND_NAMES
from archcalc.formats.element_types import element_bytes
from archcalc.ledger.algebra import Poly
from archcalc.ledger.leaves import COMPONENTS
from archcalc.ledger.rows import CacheRow, Ledger, MatmulRow, WeightRow
from archcalc.render.page import Block, Column, Page, Table, Text
from archcalc.render.symbols import in_words
from archcalc.spec import Spec
from archcalc.units import exact
from archcalc.words import ENGLISH, Translator, msg, plural

_PARTS = {
    "weights": msg("weights"),
    "biases": msg("biases"),
    "tokens_by_weights": msg("tokens by weights"),
    "tokens_by_tokens": msg("tokens by tokens"),
    "others": msg("others"),
}
# Each figure of the report: what it counts.
_FIGURES = {
    "total": msg("every stored tensor once"),
    "untied": msg("the tied head's matrix counted beside the table"),
    "active": msg("what one token uses, embedding and head included"),
    "active_without_input_embedding": msg("what one token uses beyond its embedding"),
    "active_without_embedding_and_head": msg("what one token uses beyond its embedding and the head"),
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
    "embedding": msg("all of the component {component}"),
    "position": msg("all of the component {component}"),
    "attention": msg("all of the component {component}"),
    "ffn": msg("all of the component {component}"),
    "mixer": msg("all of the component {component}"),
    "norm": msg("all of the component {component}"),
    "head": msg("all of the component {component}"),
    "other": msg("all of the component {component}"),
    "flops.embedding": msg("forward, all of the component {component}"),
    "flops.position": msg("forward, all of the component {component}"),
    "flops.attention": msg("forward, all of the component {component}"),
    "flops.ffn": msg("forward, all of the component {component}"),
    "flops.mixer": msg("forward, all of the component {component}"),
    "flops.norm": msg("forward, all of the component {component}"),
    "flops.head": msg("forward, all of the component {component}"),
    "flops.other": msg("forward, all of the component {component}"),
}


def page(subject: ModelWorkload, wanted: str | None, say: Translator = ENGLISH) -> Page:
    """The formulas of all totals of parameters, FLOPs and memory in short; or of what is called `wanted`.

    `wanted` is a figure of the report ('total', 'attention', 'flops.forward', 'memory.kv_cache_bytes'), or the path of
    a weight, a product or a cache ('*' matches anything; a part of a path will do).
    """
    rewriter = workload_rewriter(subject)
    if wanted is None:
        called, more = telling(subject.ledger), [_in_short(subject, rewriter, say)]
        shown = [figure.formula for figure in _of_work(subject)]
    else:
        called, rows = look_up(subject.ledger, subject.dtype, wanted)
        more = [_row(one, subject, rewriter, say) for one in rows]
        shown = [figure.formula for figure in called] + [poly for one in rows for poly in _formulas(one.row)]
    blocks = [*(_figure(figure, subject, rewriter, say) for figure in called), *more]
    return _page(subject.spec, [*blocks, *_symbols(rewriter.ledger, shown, say)], say)


def _page(spec: Spec, blocks: Sequence[Block], say: Translator) -> Page:
    return Page(spec.label, say(msg("{name}: how each figure comes about", name=spec.name)), blocks, say.lang)


def table_page(subject: ModelWorkload, wanted: str | None, say: Translator = ENGLISH) -> Page:
    """The same as a table, for programs: what it is called, its formula and its value, by the same names anywhere."""
    columns = (Column(msg("figure")), Column(msg("formula")), Column(msg("value"), "count"))
    rows = [(name, found["formula"], found["value"]) for name, found in formulas(subject, wanted).items()]
    return _page(subject.spec, [Table("", columns, rows)], say)


def _of_work(subject: ModelWorkload) -> Iterator[Figure]:
    """The figures of a workload as a whole, as the report has them."""
    yield from (figure for figure in flops_figures(subject.ledger) if not figure.parts)
    yield from (figure for figure in memory_figures(subject.ledger, subject.dtype) if figure.formula.terms)


def _in_short(subject: ModelWorkload, rewriter: Rewriter, say: Translator) -> Text:
    """A line for each figure of a workload, what is a multiple of another as that."""
    known = telling(subject.ledger)[:1]
    lines = []
    for figure in _of_work(subject):
        equation = f"{_terms(figure, known, rewriter, say)} = {_value(figure.formula, rewriter)}"
        lines.append(say(msg("{name}: {formula}", name=figure.name, formula=equation)))
        known.append(figure)
    used = dict.fromkeys(relation for figure in known[1:] for relation in rewriter.used(figure.formula))
    return Text(say(msg("FLOPs and memory")), [*lines, *_with(used, say)])


def _terms(figure: Figure, known: Iterable[Figure], rewriter: Rewriter, say: Translator) -> str:
    for other in known:
        for factor in range(1, 5):
            if figure.formula == factor * other.formula:
                return f"{factor}·{other.name}"
    simple = rewriter.simplify(figure.formula)
    return str(simple) if len(simple.terms) <= MAX_TERMS else say(msg("a sum of {n} terms", n=len(simple.terms)))


def _value(formula: Poly, rewriter: Rewriter) -> str:
    return exact(formula.at(rewriter.ledger.sizes))


def _figure(figure: Figure, subject: ModelWorkload, rewriter: Rewriter, say: Translator) -> Text:
    parts = [(say(_PARTS[name]), formula) for name, formula in figure.parts if formula.terms]
    lines = [say(msg("{name}: {formula}", name=name, formula=rewriter.equation(formula))) for name, formula in parts]
    lines = lines if len(parts) > 1 else []
    lines += rewriter.steps(figure.formula) if figure.formula.terms else [say(msg("0: the model has none"))]
    title = say(msg("{name}: {meaning}", name=figure.name, meaning=_meaning(figure, subject, say)))
    return Text(title, [*lines, *_with(rewriter.used(figure.formula), say)])


def _meaning(figure: Figure, subject: ModelWorkload, say: Translator) -> str:
    """What a figure counts: of a component it names it, of bytes it says how large each element is."""
    size = element_bytes(subject.dtype)
    each = plural("{n} byte", "{n} bytes", n=size)
    component = figure.name.removeprefix("flops.")
    named = COMPONENT_NAMES[component] if component in COMPONENTS else ""
    return say(_FIGURES[figure.name].fill(component=named, dtype=subject.dtype, bytes=each))


def _with(relations: Iterable[Relation], say: Translator) -> list[str]:
    """The line that says what of the sizes a formula draws on, if anything."""
    return [say(msg("with {relations}", relations=drawn))] if (drawn := ", ".join(map(str, relations))) else []


def _row(named: NamedRow, subject: ModelWorkload, rewriter: Rewriter, say: Translator) -> Text:
    match named.row:
        case WeightRow() as row:
            return _weight(row, subject.ledger, rewriter, say)
        case MatmulRow() as row:
            return _product(row, rewriter, say)
        case CacheRow() as row:
            return _cache(row, subject, rewriter, say)


def _formulas(row: WeightRow | MatmulRow | CacheRow) -> list[Poly]:
    """All that a row's block shows."""
    return [row.formula, row.causal_formula] if isinstance(row, MatmulRow) else [row.formula]


def _weight(row: WeightRow, ledger: Ledger, rewriter: Rewriter, say: Translator) -> Text:
    lines = [
        f"{say(msg('axes'))} {axes_text(row)} = {list(row.shape)}",
        say(msg("each: {formula}", formula=f"{_each(row.weight.axes)} = {exact(row.count)}")),
        say(msg("{name}: {formula}", name=_over(row.layers, say), formula=rewriter.equation(row.formula))),
    ]
    if row.weight.active_axes:
        lines.append(say(msg("active: {formula}", formula=rewriter.equation(row.active_formula))))
    lines += [*_with(rewriter.used(row.formula), say), _share(row, ledger, say)]
    kind, component = KIND_NAMES[row.kind], COMPONENT_NAMES[row.component]
    return Text(say(msg("{name}: {component}, {kind}", name=_label(row, say), component=component, kind=kind)), lines)


def _label(row: WeightRow, say: Translator) -> str:
    """A row's path, with its layers where not all have it, and its kind where that is not trainable."""
    kind = "" if row.kind == "trainable" else f" ({say(KIND_NAMES[row.kind])})"
    return path_in_group(row.path, row.group) + kind


def _product(row: MatmulRow, rewriter: Rewriter, say: Translator) -> Text:
    """A matrix product's FLOPs: with all keys that are held, and with the pairs that are attended."""
    sizes, every = rewriter.ledger.sizes, row.matmul.axes
    lines = [
        _axes(every, sizes, say(msg("axes"))),
        say(msg("each: {formula}", formula=f"2 · {_each(every)} = {exact(row.formula.at(sizes) // row.layers)}")),
        say(msg("{name}: {formula}", name=_over(row.layers, say), formula=rewriter.equation(row.formula))),
    ]
    if row.matmul.causal_axes:
        lines += [
            _axes(row.matmul.causal_axes, sizes, say(msg("causal axes"))),
            say(msg("causal: {formula}", formula=rewriter.equation(row.causal_formula))),
        ]
    lines += _with(rewriter.used(row.formula), say)
    whole = sum(each.formula.at(sizes) for each in rewriter.ledger.matmuls)
    lines.append(
        say(msg("{percent:.4f} % of {whole}", percent=100 * row.formula.at(sizes) / whole, whole=exact(whole)))
    )
    component = COMPONENT_NAMES[row.component]
    return Text(
        say(msg("{name}: {component}, product, FLOPs", name=path_in_group(row.path, row.group), component=component)),
        lines,
    )


def _cache(row: CacheRow, subject: ModelWorkload, rewriter: Rewriter, say: Translator) -> Text:
    size, over = element_bytes(subject.dtype), _over(max(1, len(row.layer_indices)), say)
    held = f"{size} · {_value(row.formula, rewriter)} = {_value(size * row.formula, rewriter)}"
    lines = [
        _axes(row.cache.axes, rewriter.ledger.sizes, say(msg("axes of each sequence"))),
        say(msg("elements {over}: {formula}", over=over, formula=rewriter.equation(row.formula))),
        say(msg("in {dtype}: {formula}", dtype=subject.dtype, formula=held)),
        *_with(rewriter.used(row.formula), say),
    ]
    return Text(say(msg("{name}: cache, bytes", name=path_in_group(row.path, row.group))), lines)


def _axes(found: Sequence[Poly], sizes: Any, name: str) -> str:
    return f"{name} [{', '.join(map(str, found))}] = {[axis.at(sizes) for axis in found]}"


def _each(found: Sequence[Poly]) -> str:
    return " · ".join(axis.factored() for axis in found)


def _over(layers: int, say: Translator) -> str:
    return say(plural("over {n} layer", "over {n} layers", n=layers))


def _share(row: WeightRow, ledger: Ledger, say: Translator) -> str:
    if row in ledger.tied:
        return say(msg("tied: stored once, as the token table; counted only where the head is counted apart (untied)"))
    if not row.is_counted:
        return say(msg("a buffer: stored, but in no total"))
    return say(msg("{percent:.4f} % of {whole}", percent=100 * row.total / ledger.total(), whole=exact(ledger.total())))


def _symbols(ledger: Ledger, shown: Iterable[Poly], say: Translator) -> list[Block]:
    """The model's dimensions; and where a formula names them, the workload's."""
    named = set().union(*(formula.symbols() for formula in shown))
    work = {symbol for symbol in named if is_of_work(symbol)}
    windows = {window[:-1] for symbol in work if (window := symbol.partition("(")[2])}
    own = named - work | windows
    own.update(*(row.formula.symbols() | row.active_formula.symbols() for row in ledger.rows))
    stated = ", ".join(f"{name} = {ledger.sizes[name]}" for name in sorted(own))
    blocks: list[Block] = [Text(say(msg("Dimensions")), [stated])]
    return [*blocks, Text(say(msg("Workload")), in_words(work, ledger.sizes, say))] if work else blocks
