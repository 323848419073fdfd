"""The formulas of figures in symbols and in numbers, as a page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from archcalc.analysis.closed_form import MAX_TERMS, sum_lines
from archcalc.analysis.figure_formula import PART_NAMES, FigureFormula
from archcalc.analysis.formulas import Explanation
from archcalc.analysis.memory import Dtype
from archcalc.analysis.workload_symbols import WorkloadSymbol
from archcalc.formats.element_types import element_bytes
from archcalc.ledger.leaves import COMPONENTS
from archcalc.render.page import Block, Page, Text
from archcalc.render.tables import table
from archcalc.units import exact
from archcalc.words import Message, joined, msg, plural

# Of figures that are shown only beside `active`.
_VARIANTS = ("active_without_input_embedding", "active_without_embedding_and_head")


def view(result: Explanation, options: None = None) -> Page:
    """Return the page of formulas in symbols and in numbers: those that were asked for, or the main ones."""
    formulas = [*_notable(result.formulas)] if result.row is None else result.formulas
    blocks: list[Block] = [_block(one, result.dtype) for one in formulas]
    if result.row is None:
        blocks.append(_in_short(result.formulas))
    dimensions = ", ".join(f"{name} = {size}" for name, size in result.dimensions.items())
    blocks.append(Text(msg("Dimensions"), [dimensions]))
    if result.symbols:
        blocks.append(Text(msg("Workload"), symbol_lines(result.symbols)))
    return Page(result.label, _subtitle(result.name), blocks)


def table_view(result: Explanation, options: None = None) -> Page:
    """Return the page of the formulas as a table."""
    return Page(result.label, _subtitle(result.name), [table("", result.formulas, FigureFormula)])


def _subtitle(name: str) -> Message:
    return msg("{name}: the formula of each figure", name=name)


def _notable(formulas: Sequence[FigureFormula]) -> Iterator[FigureFormula]:
    """Yield the figures of parameters without those that are 0 or equal to the total."""
    notable = [one for one in formulas if not _is_of_work(one) and one.n_terms and one.multiple_of != "total"]
    has_active = any(one.figure == "active" for one in notable)
    yield from (one for one in notable if has_active or one.figure not in _VARIANTS)


def _is_of_work(one: FigureFormula) -> bool:
    return one.figure.startswith(("flops.", "memory."))


def _in_short(formulas: Iterable[FigureFormula]) -> Text:
    """Return a line for each total of a workload; a multiple of another figure is written as that."""
    totals = [one for one in formulas if _is_of_work(one) and one.figure.removeprefix("flops.") not in COMPONENTS]
    shown = [one for one in totals if one.n_terms or one.figure.startswith("flops.")]
    lines: list[Message] = []
    for one in shown:
        if one.expression == str(one.value) and one.value:
            lines.append(msg("{name}: {meaning}", name=f"{one.figure} = {exact(one.value)}", meaning=one.meaning))
            continue
        equation = joined(" = ", (_terms(one), exact(one.value)))
        lines.append(msg("{name}: {formula}", name=one.figure, formula=equation))
    used = dict.fromkeys(relation for one in shown for relation in one.relations)
    return Text(msg("FLOPs and memory"), [*lines, *_with(used)])


def _terms(one: FigureFormula) -> str | Message:
    if one.n_terms > MAX_TERMS and not one.multiple_of:
        return msg("a sum of {n} terms", n=one.n_terms)
    return one.multiple_of or one.expression


def _block(one: FigureFormula, dtype: Dtype) -> Text:
    """Return the block of a figure or a row."""
    lines: list[str | Message] = [*_axes(one), *_parts(one), *_formula(one, dtype)]
    if one.active_formula:
        lines.append(msg("active: {formula}", formula=one.active_formula))
    if one.causal_axes:
        lines.append(msg("causal: {formula}", formula=one.causal_formula))
    lines += _with(one.relations)
    if one.share_of:
        lines.append(msg("{percent:.4f} % of {whole}", percent=100 * (one.share or 0), whole=exact(one.share_of)))
    if one.note:
        lines.append(one.note)
    return Text(msg("{name}: {meaning}", name=one.path or one.figure, meaning=one.meaning), lines)


def _axes(one: FigureFormula) -> Iterator[Message]:
    heading = msg("axes of each sequence") if one.what == "cache" else msg("axes")
    for name, axes, shape in (
        (heading, one.axes, one.shape),
        (msg("causal axes"), one.causal_axes, one.causal_shape),
    ):
        if axes:
            yield joined(" ", (name, f"[{', '.join(axes)}] = {list(shape)}"))


def _parts(one: FigureFormula) -> Iterator[Message]:
    for part in one.parts:
        name = PART_NAMES[part.part]
        if part.part == "elements":
            name = msg("elements {over}", over=_over(one))
        yield msg("{name}: {formula}", name=name, formula=part.formula)


def _formula(one: FigureFormula, dtype: Dtype) -> Sequence[str | Message]:
    if one.what == "cache":
        (elements,) = one.parts
        in_bytes = f"{element_bytes(dtype)} · {exact(elements.value)} = {exact(one.value)}"
        return [msg("in {dtype}: {formula}", dtype=dtype, formula=in_bytes)]
    if one.what != "figure":
        return [msg("{name}: {formula}", name=_over(one), formula=one.formula)]
    if not one.n_terms:
        return [msg("0: the model has none")]
    return sum_lines([(some.expression, some.value) for some in one.terms], one.value) or [one.formula]


def _with(relations: Iterable[str]) -> list[Message]:
    """Return the line of the relations that a formula uses, if there are any."""
    used = ", ".join(relations)
    return [msg("with {relations}", relations=used)] if used else []


def _over(one: FigureFormula) -> Message:
    return plural("over {n} layer", "over {n} layers", n=one.layers)


def symbol_lines(symbols: Sequence[WorkloadSymbol]) -> list[str | Message]:
    """Return the sizes that the workload states on one line, then a line for each symbol that follows from them."""
    stated = ", ".join(f"{one.symbol} = {one.value}" for one in symbols if one.formula is None)
    return [stated, *(_symbol(one, one.formula, one.meaning) for one in symbols if one.formula and one.meaning)]


def _symbol(one: WorkloadSymbol, formula: Message, meaning: Message) -> Message:
    equation = joined(" = ", (one.symbol, formula, exact(one.value)))
    return msg("{name}: {meaning}", name=equation, meaning=meaning)
