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
from archcalc.ledger.leaves import COMPONENTS
from archcalc.ledger.types import Ledger
from archcalc.render.page import Block, Box, Column, Page, Picture, Table, Text, Treemap
from archcalc.spec import Spec
from archcalc.spec.groups import groups
from archcalc.spec.layer import Stack
from archcalc.spec.model import ModelStack
from archcalc.units import exact, human_bytes
from archcalc.words import msg

View = Literal["summary", "weights", "layers", "largest"]
VIEWS: tuple[View, ...] = ("summary", "weights", "layers", "largest")

N_LARGEST = 12

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
    boxes = [Box(path_pattern(row.path), row.total, row.component) for row in ledger.counted]
    return Treemap(msg("Where the parameters are"), boxes)


def _subtitle(spec: Spec) -> str:
    stacks = " + ".join(map(_stack_in_words, spec.stacks))
    words = (spec.name, spec.family, stacks, f"d_model {spec.d_model}", f"vocabulary {exact(spec.vocab_size)}")
    return " · ".join((*words, f"context {exact(spec.n_ctx)}"))


def _stack_in_words(each: ModelStack) -> str:
    stack, role = each.stack, each.prefix.rstrip(".")
    kinds = groups(stack)
    parts = ", ".join(f"{len(group.turns)} {group.name}" for group in kinds)
    if len(kinds) > MAX_KINDS:
        parts = f"of {len(kinds)} kinds"
    layers = msg("layer") if stack.n_layers == 1 else msg("layers")
    kinds_in_words = f" ({parts})" if len(kinds) > 1 else ""
    return f"{stack.n_layers} {role + ' ' if role else ''}{layers}" + kinds_in_words + _own_sizes(stack)


def _own_sizes(stack: Stack) -> str:
    """The sizes that a stack has of its own."""
    named = {"d_model": stack.d_model, "vocabulary": stack.vocab_size, "context": stack.n_ctx}
    own = [f"{name} {exact(size)}" for name, size in named.items() if size is not None]
    return f" (own {', '.join(own)})" if own else ""


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
    after = f" after {exact(work.past)}" if work.past else ""
    source = f", source {exact(work.source_seq)}" if subject.spec.family == "encoder-decoder" else ""
    rows = [
        _flops(msg("forward"), flops["forward"], msg("every key that a layer holds")),
        _flops(msg("forward, causal"), flops["forward_causal"], msg("the pairs that are attended")),
        _flops(msg("training step"), flops["train_step"], msg("forward and backward")),
        _bytes(msg("weights"), memory["weights_bytes"], dtype),
        _bytes(msg("KV cache"), memory["kv_cache_bytes"], f"{dtype}, after {exact(work.past + work.seq)} tokens"),
    ]
    columns = (Column(msg("cost")), Column(msg("exact"), "count"), Column("", "human"), Column(msg("what it counts")))
    title = f"Workload: {exact(work.batch)} × {exact(work.seq)} tokens{after}{source}"
    return Table(title, columns, [row for row in rows if row[1]])


def _breakdown(ledger: Ledger) -> Table:
    """Components and their shares; of a tied model in both accountings, so that either published split is found."""
    lines = shares(ledger)
    total = Share.sum(msg("total"), lines)
    sums = [total]
    columns: list[tuple[Column, Callable[[Share], Any]]] = [
        (Column(msg("component")), lambda line: line.label),
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
        sums = [Share.sum(msg("embedding + head"), ends), total]
        lines = [msgspec.structs.replace(line, label="head (tied)") if line.label == "head" else line for line in lines]
    rows = [[value(line) for _, value in columns] for line in (*lines, *sums)]
    return Table(msg("Parameters"), tuple(column for column, _ in columns), rows, n_sums=len(sums))


def _flops(cost: str, count: int, meaning: str) -> tuple[Any, ...]:
    return f"{cost} FLOPs", count, count, meaning


def _bytes(cost: str, count: int, meaning: str) -> tuple[Any, ...]:
    return f"{cost} bytes", count, human_bytes(count), meaning


def _totals(ledger: Ledger) -> Table:
    found = summary(ledger)
    lines = [
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
    lines = rewriter.steps(formula, numbers=False)
    if where := rewriter.used(formula):
        lines.append("with " + ", ".join(map(str, where)))
    if len(lines) <= 2:
        lines.append(f"in letters: {in_letters(rewriter.simplify(formula))}")
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
            row.component,
            axes_text(row),
            " × ".join(map(str, row.shape)),
            row.count,
            row.layers,
            row.total,
            row.total / total if row.counted else None,
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
        *(Column(component, "count") for component in used),
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
