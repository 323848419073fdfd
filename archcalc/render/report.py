"""The report of a model as a page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, get_args

import msgspec

from archcalc.analysis.inference_memory import ComponentMemory
from archcalc.analysis.model_report import Cost, ModelReport, StackLayers, TotalParams
from archcalc.analysis.params import ComponentParams, LayerParams, WeightParams, largest
from archcalc.analysis.value_names import COMPONENT_NAMES
from archcalc.render.page import Block, Page, Picture, Table, Text, Treemap, TreemapBox
from archcalc.render.tables import table
from archcalc.results import text
from archcalc.spec import Spec
from archcalc.units import exact
from archcalc.words import Bytes, Message, joined, msg, plural

View = Literal["summary", "weights", "layers", "largest"]
VIEWS: tuple[View, ...] = get_args(View)

# More kinds of layers than these are counted and not listed.
MAX_KINDS = 6


class ReportOptions(msgspec.Struct, frozen=True):
    """What the tables show: the summary, or a row for each weight, layer or large tensor."""

    view: View = "summary"


def view(result: ModelReport, options: ReportOptions) -> Page:
    """Return the page of one of the views."""
    return Page(result.label, _subtitle(result), _blocks(result, options.view), answer=_answer(result))


def full_page(result: ModelReport, spec: Spec) -> Page:
    """Return the page of all views, with a treemap and a diagram of the spec."""
    from archcalc.render.diagram import diagram

    first, *others = [block for view in VIEWS for block in _blocks(result, view)]
    pictures = treemap(result.weights), Picture(msg("Layers"), diagram(spec))
    return Page(result.label, _subtitle(result), [first, *pictures, *others], answer=_answer(result))


def _answer(result: ModelReport) -> Message:
    counts = {row.figure: row.parameters for row in result.totals}
    costs = {row.figure: row.value for row in result.costs}
    parts = [plural("{n:,} parameter", "{n:,} parameters", n=counts["total"])]
    if "active" in counts:
        parts.append(msg("{n:,} active per token", n=counts["active"]))
    parts.append(msg("{size} of weights", size=Bytes(costs["memory.weights_bytes"])))
    if kept := costs.get("memory.kv_cache_bytes", 0) + costs.get("memory.state_bytes", 0):
        tokens = result.workload.past + result.workload.seq
        sizes = {"n": tokens, "size": Bytes(kept)}
        parts.append(plural("{size} of cache for {n:,} token", "{size} of cache for {n:,} tokens", **sizes))
    return joined(" · ", parts)


def treemap(weights: Iterable[WeightParams]) -> Treemap:
    """Return the treemap of the weights, buffers left out."""
    boxes = [TreemapBox(row.path, row.elements, row.component) for row in weights if row.tensor_kind != "buffer"]
    return Treemap(msg("Where the parameters are"), boxes)


def _subtitle(result: ModelReport) -> Message:
    parts = (
        result.name,
        result.family,
        joined(" + ", map(_stack, result.stacks)),
        f"d_model {result.d_model}",
        msg("vocabulary {n:,}", n=result.vocab_size),
        msg("context {n:,}", n=result.n_ctx),
    )
    return joined(" · ", parts)


def _stack(stack: StackLayers) -> Message:
    """Return the number of layers, how many of each kind, and the stack's own sizes."""
    layers = plural("{n} layer", "{n} layers", n=stack.layers)
    if stack.role:
        layers = plural("{n} {role} layer", "{n} {role} layers", n=stack.layers, role=stack.role)
    if len(stack.groups) > MAX_KINDS:
        layers = msg("{layers} (of {n} kinds)", layers=layers, n=len(stack.groups))
    elif len(stack.groups) > 1:
        kinds = ", ".join(f"{n} {name}" for name, n in stack.groups.items())
        layers = msg("{layers} ({kinds})", layers=layers, kinds=kinds)
    sizes = _own_sizes(stack)
    return msg("{layers} (own {sizes})", layers=layers, sizes=joined(", ", sizes)) if sizes else layers


def _own_sizes(stack: StackLayers) -> list[str | Message]:
    sizes: list[str | Message] = []
    if stack.d_model is not None:
        sizes.append(f"d_model {exact(stack.d_model)}")
    if stack.vocab_size is not None:
        sizes.append(msg("vocabulary {n:,}", n=stack.vocab_size))
    if stack.n_ctx is not None:
        sizes.append(msg("context {n:,}", n=stack.n_ctx))
    return sizes


def _blocks(result: ModelReport, view: View) -> Sequence[Block]:
    match view:
        case "summary":
            costs = table(_workload(result), result.costs, Cost)
            totals = table(msg("Totals"), result.totals, TotalParams)
            notes = [Text(msg("Read from the file"), result.notes)] if result.notes else []
            stored = [_stored(result)] if result.stored else []
            return [_components(result), totals, costs, *stored, _closed_form(result), *notes]
        case "weights":
            counted = [row for row in result.weights if row.tensor_kind != "buffer"]
            return [table(msg("Weights"), result.weights, WeightParams, total=msg("total"), counted=counted)]
        case "layers":
            return [table(msg("Layer by layer"), result.layers, LayerParams, total=msg("total"))]
        case "largest":
            without = {"component", "elements", "share", "formula"}
            return [table(msg("Largest tensors"), largest(result.weights), WeightParams, without=without)]


def _workload(result: ModelReport) -> Message:
    work = result.workload
    sizes = {"batch": work.batch, "seq": work.seq, "past": work.past, "source": work.source_seq}
    if result.family == "encoder-decoder":
        if work.past:
            return msg("Workload: {batch:,} × {seq:,} tokens after {past:,}, source {source:,}", **sizes)
        return msg("Workload: {batch:,} × {seq:,} tokens, source {source:,}", **sizes)
    if work.past:
        return msg("Workload: {batch:,} × {seq:,} tokens after {past:,}", **sizes)
    return msg("Workload: {batch:,} × {seq:,} tokens", **sizes)


def _components(result: ModelReport) -> Table:
    """Return the table of the components; for a tied model in both accountings, as either split is published."""
    rows, total = result.components, msg("total")
    without = {"weights", "biases"} if not any(row.biases for row in rows) else set()
    if not result.is_tied:
        return table(msg("Parameters"), rows, ComponentParams, total=total, without={*without, "untied_share"})
    names = {**COMPONENT_NAMES, "head": msg("head (tied)")}
    changes = {"component": text(msg("component"), names=names)}
    ends: dict[str | Message, list[ComponentParams]] = {
        msg("embedding + head"): [row for row in rows if row.component in ("embedding", "head")]
    }
    return table(
        msg("Parameters"), rows, ComponentParams, total=total, without=without, changes=changes, subtotals=ends
    )


def _stored(result: ModelReport) -> Table:
    """Return the table of quantized weights by component and format."""
    return table(msg("Weights as stored"), result.stored, ComponentMemory, total=msg("total"))


def _closed_form(result: ModelReport) -> Text:
    formula = result.closed_form
    lines: list[str | Message] = [*formula.lines]
    if formula.relations:
        lines.append(msg("with {relations}", relations=", ".join(formula.relations)))
    if formula.letters is not None:
        lines.append(msg("in letters: {formula}", formula=formula.letters))
    return Text(msg("Closed form"), lines)
