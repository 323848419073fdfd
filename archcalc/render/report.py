"""The parameter report of one spec, as pages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from archcalc.analysis.closed_form import Rewriter, in_letters
from archcalc.analysis.flops import summary as flops_summary
from archcalc.analysis.memory import summary as memory_summary
from archcalc.analysis.model_workload import ModelWorkload
from archcalc.analysis.params import Share, largest, per_layer, shares, summary
from archcalc.analysis.row_names import axes_text, path_pattern, row_label
from archcalc.analysis.value_names import COMPONENT_NAMES
from archcalc.ledger.leaves import COMPONENTS
from archcalc.ledger.rows import Ledger
from archcalc.render.page import Block, Column, Page, Picture, Table, Text, Treemap, TreemapBox
from archcalc.spec import Spec
from archcalc.spec.groups import groups
from archcalc.spec.layer import Stack
from archcalc.spec.model import ModelStack
from archcalc.units import exact, human_bytes
from archcalc.words import Message, joined, msg, plural

View = Literal["summary", "weights", "layers", "largest"]
VIEWS: tuple[View, ...] = ("summary", "weights", "layers", "largest")

N_LARGEST = 12

# The lines of the breakdown.
_LINES: dict[str, Message] = {
    **COMPONENT_NAMES,
    "head (tied)": msg("head (tied)"),
    "embedding + head": msg("embedding + head"),
    "total": msg("total"),
}

# More kinds of layers than these are counted and not listed.
MAX_KINDS = 6


def page(subject: ModelWorkload, view: View) -> Page:
    """The report of a model in one of its views."""
    spec = subject.spec
    return Page(spec.label, _subtitle(spec), _VIEWS[view](subject))


def full_page(subject: ModelWorkload) -> Page:
    """Every view on one page, with a treemap and a diagram: for a file that is read apart from the tool."""
    from archcalc.render.diagram import diagram

    spec, blocks = subject.spec, [block for view in VIEWS for block in _VIEWS[view](subject)]
    drawn: list[Block] = [treemap(subject.ledger), Picture(msg("Layers"), diagram(spec))]
    return Page(spec.label, _subtitle(spec), [blocks[0], *drawn, *blocks[1:]])


def treemap(ledger: Ledger) -> Treemap:
    """Each weight's share of the parameters, as an area."""
    boxes = [TreemapBox(path_pattern(row.path), row.total, row.component) for row in ledger.counted_rows]
    return Treemap(msg("Where the parameters are"), boxes)


def _subtitle(spec: Spec) -> Message:
    words = (
        spec.name,
        spec.family,
        joined(" + ", map(_stack_in_words, spec.stacks)),
        f"d_model {spec.d_model}",
        msg("vocabulary {n:,}", n=spec.vocab_size),
        msg("context {n:,}", n=spec.n_ctx),
    )
    return joined(" · ", words)


def _stack_in_words(each: ModelStack) -> Message:
    stack, role = each.stack, each.prefix.rstrip(".")
    assert stack.n_layers is not None, "the spec is resolved"
    layers = plural("{n} layer", "{n} layers", n=stack.n_layers)
    if role:
        layers = plural("{n} {role} layer", "{n} {role} layers", n=stack.n_layers, role=role)
    kinds, own = groups(stack), _own_sizes(stack)
    if len(kinds) > MAX_KINDS:
        layers = msg("{layers} (of {n} kinds)", layers=layers, n=len(kinds))
    elif len(kinds) > 1:
        named = ", ".join(f"{len(group.layer_indices)} {group.name}" for group in kinds)
        layers = msg("{layers} ({kinds})", layers=layers, kinds=named)
    return msg("{layers} (own {sizes})", layers=layers, sizes=joined(", ", own)) if own else layers


def _own_sizes(stack: Stack) -> list[str | Message]:
    """The sizes that a stack has of its own."""
    own: list[str | Message] = []
    if stack.d_model is not None:
        own.append(f"d_model {exact(stack.d_model)}")
    if stack.vocab_size is not None:
        own.append(msg("vocabulary {n:,}", n=stack.vocab_size))
    if stack.n_ctx is not None:
        own.append(msg("context {n:,}", n=stack.n_ctx))
    return own


def _summary(subject: ModelWorkload) -> list[Block]:
    ledger = subject.ledger
    return [_breakdown(ledger), _totals(ledger), _work(subject), _closed_form(ledger), *_reading(subject.spec)]


def _reading(spec: Spec) -> list[Block]:
    """Return what reading the source left aside or assumed, if anything."""
    notes = spec.about.provenance.notes
    return [Text(msg("Read from the file"), notes)] if notes else []


def _work(subject: ModelWorkload) -> Table:
    """What the workload costs, at a glance."""
    work, dtype = subject.work, subject.dtype
    flops, memory = flops_summary(subject.ledger, work), memory_summary(subject.ledger, work, dtype)
    rows = [
        _flops(msg("forward FLOPs"), flops["forward"], msg("every key that a layer holds")),
        _flops(msg("forward, causal FLOPs"), flops["forward_causal"], msg("the pairs that are attended")),
        _flops(msg("training step FLOPs"), flops["train_step"], msg("forward and backward")),
        _bytes(msg("weights bytes"), memory["weights_bytes"], dtype),
        _bytes(
            msg("KV cache bytes"),
            memory["kv_cache_bytes"],
            msg("{dtype}, after {tokens:,} tokens", dtype=dtype, tokens=work.past + work.seq),
        ),
    ]
    columns = (Column(msg("cost")), Column(msg("exact"), "count"), Column("", "human"), Column(msg("what it counts")))
    return Table(_asked(subject), columns, [row for row in rows if row[1]])


def _asked(subject: ModelWorkload) -> Message:
    """The workload in words."""
    work = subject.work
    sizes = {"batch": work.batch, "seq": work.seq, "past": work.past, "source": work.source_seq}
    if subject.spec.family == "encoder-decoder":
        if work.past:
            return msg("Workload: {batch:,} × {seq:,} tokens after {past:,}, source {source:,}", **sizes)
        return msg("Workload: {batch:,} × {seq:,} tokens, source {source:,}", **sizes)
    if work.past:
        return msg("Workload: {batch:,} × {seq:,} tokens after {past:,}", **sizes)
    return msg("Workload: {batch:,} × {seq:,} tokens", **sizes)


def _breakdown(ledger: Ledger) -> Table:
    """Components and their shares; of a tied model in both accountings, so that either published split is found."""
    lines = shares(ledger)
    total = Share.sum("total", lines)
    sums = [total]
    columns: list[tuple[Column, Callable[[Share], Any]]] = [
        (Column(msg("component")), lambda line: _LINES[line.label]),
        (Column(msg("parameters"), "count"), lambda line: line.stored_once),
        (Column("", "human"), lambda line: line.stored_once),
    ]
    if total.biases:
        columns[1:1] = [
            (Column(msg("weights"), "count"), lambda line: line.stored_once - line.biases),
            (Column(msg("biases"), "count"), lambda line: line.biases),
        ]
    once, apart = (msg("stored once"), msg("head apart")) if ledger.tied else (msg("share"), "")
    columns.append((Column(once, "percent"), lambda line: line.stored_once / total.stored_once))
    if ledger.tied:
        columns.append((Column(apart, "percent"), lambda line: line.head_apart / total.head_apart))
        ends = [line for line in lines if line.label in ("embedding", "head")]
        sums = [Share.sum("embedding + head", ends), total]
        lines = [msgspec.structs.replace(line, label="head (tied)") if line.label == "head" else line for line in lines]
    rows = [[value(line) for _, value in columns] for line in (*lines, *sums)]
    return Table(msg("Parameters"), tuple(column for column, _ in columns), rows, n_sums=len(sums))


def _flops(cost: Message, count: int, meaning: Message) -> tuple[Any, ...]:
    return cost, count, count, meaning


def _bytes(cost: Message, count: int, meaning: str | Message) -> tuple[Any, ...]:
    return cost, count, human_bytes(count), meaning


def _totals(ledger: Ledger) -> Table:
    found = summary(ledger)
    lines: list[tuple[Message, int, str | Message]] = [
        (msg("total"), found["total"], msg("every stored tensor once")),
        (msg("non-embedding"), found["non_embedding"], msg("without embedding, positions, head")),
    ]
    if ledger.tied:
        lines.insert(1, (msg("head counted apart"), found["untied"], msg("the tied head as a matrix of its own")))
    if found["active"] != found["total"]:
        lines += [
            (msg("active"), found["active"], msg("what one token uses, embedding and head included")),
            (msg("… less input embedding"), found["active_without_input_embedding"], ""),
            (msg("… less embedding and head"), found["active_without_embedding_and_head"], ""),
        ]
    if found["frozen"]:
        lines += [
            (msg("trainable"), found["trainable"], ""),
            (msg("frozen"), found["frozen"], msg("stored, not trained")),
        ]
    if found["buffers"]:
        lines.append((msg("buffers"), found["buffers"], msg("stored beside the parameters, in no total")))
    columns = (Column(msg("count")), Column(msg("exact"), "count"), Column("", "human"), Column(msg("what it counts")))
    return Table(msg("Totals"), columns, [(label, count, count, meaning) for label, count, meaning in lines])


def _closed_form(ledger: Ledger) -> Text:
    rewriter, formula = Rewriter(ledger), ledger.formula()
    lines: list[str | Message] = [*rewriter.steps(formula, numbers=False)]
    if where := rewriter.used(formula):
        lines.append(msg("with {relations}", relations=", ".join(map(str, where))))
    if len(lines) <= 2:
        lines.append(msg("in letters: {formula}", formula=in_letters(rewriter.simplify(formula))))
    return Text(msg("Closed form"), lines)


def _weights(subject: ModelWorkload) -> list[Block]:
    ledger = subject.ledger
    total, rewriter = ledger.total(), Rewriter(ledger)
    columns = (
        Column(msg("weight")),
        Column(msg("component")),
        Column(msg("axes")),
        Column(msg("shape")),
        Column(msg("each"), "count"),
        Column(msg("layers"), "count"),
        Column(msg("total"), "count"),
        Column(msg("share"), "percent"),
        Column(msg("formula")),
    )
    rows = [
        (
            row_label(row),
            COMPONENT_NAMES[row.component],
            axes_text(row),
            " × ".join(map(str, row.shape)),
            row.count,
            row.layers,
            row.total,
            row.total / total if row.is_counted else None,
            rewriter.equation(row.formula),
        )
        for row in ledger.rows
    ]
    sums = [(msg("total"), "", "", "", None, None, total, 1.0, "")]
    return [Table(msg("Weights"), columns, [*rows, *sums], n_sums=1)]


def _layers(subject: ModelWorkload) -> list[Block]:
    ledger = subject.ledger
    lines, total = per_layer(ledger), ledger.total()
    used = [component for component in COMPONENTS if any(line.by_component[component] for line in lines)]
    columns = (
        Column(msg("layer")),
        Column(msg("kind")),
        *(Column(COMPONENT_NAMES[component], "count") for component in used),
        Column(msg("total"), "count"),
        Column(msg("active"), "count"),
        Column(msg("share"), "percent"),
    )
    rows = [
        (
            line.label,
            line.group,
            *(line.by_component[c] for c in used),
            line.total,
            line.active,
            line.total / total,
        )
        for line in lines
    ]
    sums = [sum(line.by_component[component] for line in lines) for component in used]
    last = (msg("total"), "", *sums, total, sum(line.active for line in lines), 1.0)
    return [Table(msg("Layer by layer"), columns, [*rows, last], n_sums=1)]


def _largest(subject: ModelWorkload) -> list[Block]:
    ledger = subject.ledger
    columns = (
        Column(msg("tensor")),
        Column(msg("axes")),
        Column(msg("shape")),
        Column(msg("elements"), "count"),
        Column("", "human"),
        Column(msg("how many"), "count"),
    )
    rows = [
        (row_label(row), axes_text(row), " × ".join(map(str, row.shape)), row.count, row.count, row.layers)
        for row in largest(ledger, N_LARGEST)
    ]
    return [Table(msg("Largest tensors"), columns, rows)]


_VIEWS: dict[View, Callable[[ModelWorkload], list[Block]]] = {
    "summary": _summary,
    "weights": _weights,
    "layers": _layers,
    "largest": _largest,
}
