"""FLOPs of a workload, as pages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from archcalc.analysis.elementwise import COSTS, ElementwiseFlops, by_kind
from archcalc.analysis.flops import OpFlops, again, by_component, totals
from archcalc.analysis.layers import by_layer
from archcalc.analysis.papers.conventions import Counted
from archcalc.analysis.row_names import path_in_group, path_pattern
from archcalc.analysis.value_names import COMPONENT_NAMES, RECOMPUTE_NAMES
from archcalc.analysis.workload_flops import WorkloadFlops
from archcalc.ledger.leaves import Pointwise
from archcalc.render.page import Block, Column, Page, Table, Text
from archcalc.spec import Spec
from archcalc.spec.workload import Workload
from archcalc.words import Message, in_context, joined, msg

View = Literal["components", "ops", "layers"]
VIEWS: tuple[View, ...] = ("components", "ops", "layers")

LATENT_NOTE = msg("Latent attention makes keys and values anew of every cached latent (kv_up runs over all keys held).")

# Operations that are no function by name.
_OPERATION_NAMES: dict[Pointwise, Message] = {
    "layernorm": in_context("operation", "layernorm"),
    "rmsnorm": in_context("operation", "rmsnorm"),
    "rope": in_context("operation", "rope"),
    "gate": in_context("operation", "gate"),
    "clamped_gate": in_context("operation", "clamped_gate"),
    "product": in_context("operation", "product"),
    "clamp": in_context("operation", "clamp"),
    "identity": in_context("operation", "identity"),
}

_COUNTS = (
    Column(msg("forward"), "count"),
    Column("", "human"),
    Column(msg("causal"), "count"),
    Column(msg("backward"), "count"),
)


def page(found: WorkloadFlops, view: View) -> Page:
    """A workload's FLOPs by component, op or layer, and how papers would count a training step of it."""
    spec, work = found.spec, found.work
    blocks: list[Block] = [_VIEWS[view](spec, found.ops), _elementwise(found.elementwise)]
    if not work.past:
        blocks.append(_step(found))
    if found.papers:
        blocks.append(conventions_table(found.papers))
    notes = [msg("2 FLOPs a multiply-accumulate, matmuls alone: exact. Backward is twice forward.")]
    if any("latent" in row.cache.name for row in found.ledger.caches):
        notes.append(LATENT_NOTE)
    blocks.append(Text("", notes))
    return Page(msg("{label}: FLOPs", label=spec.label), subtitle(spec, work), blocks)


def _elementwise(found: list[ElementwiseFlops]) -> Table:
    """What stands on a line of its own, for its cost is a model."""
    rows: list[tuple[Any, ...]] = [
        (_OPERATION_NAMES.get(kind, kind), cost, cost, *COSTS[kind]) for kind, cost in by_kind(found).items()
    ]
    total = sum(one.forward for one in found)
    columns = (
        Column(msg("operation")),
        Column(msg("forward"), "count"),
        Column("", "human"),
        Column(msg("a number"), "count"),
        Column(msg("which are")),
    )
    return Table(msg("Elementwise (modelled)"), columns, [*rows, (msg("total"), total, total, None, "")], n_sums=1)


def _step(found: WorkloadFlops) -> Table:
    """A training step, and what its checkpoints compute again: as torch does it, and as textbooks count it."""
    whole, more = totals(found.ops), again(found.ops)
    lines = [(msg("forward"), whole["forward"]), (msg("backward"), whole["backward"])]
    sums = [(msg("step"), whole["train_step"])]
    if found.how.recompute != "none":
        lines += [(msg("again, early stop"), more["early_stop"]), (msg("again, to the end"), more["to_the_end"])]
        sums = [
            (msg("step, early stop"), whole["train_step"] + more["early_stop"]),
            (msg("step, to the end"), whole["train_step"] + more["to_the_end"]),
        ]
    rows = [(name, count, count, count / whole["train_step"]) for name, count in (*lines, *sums)]
    columns = (
        Column(msg("part")),
        Column(msg("FLOPs"), "count"),
        Column("", "human"),
        Column(msg("of a plain step"), "percent"),
    )
    title = msg("A training step: recompute {recompute}", recompute=RECOMPUTE_NAMES[found.how.recompute])
    return Table(title, columns, rows, n_sums=len(sums))


def subtitle(spec: Spec, work: Workload) -> Message:
    """The model and the workload, in words."""
    words: list[str | Message] = [
        spec.name,
        msg("batch {n:,}", n=work.batch),
        msg("{n:,} new tokens", n=work.seq),
        msg("{n:,} past", n=work.past),
    ]
    if spec.family == "encoder-decoder":
        words.append(msg("source {n:,}", n=work.source_seq))
    return joined(" · ", words)


def _components(spec: Spec, ops: list[OpFlops]) -> Table:
    whole = totals(ops)
    lines = [*((COMPONENT_NAMES[name], f) for name, f in by_component(ops).items()), (msg("total"), whole)]
    rows = [
        (name, f["forward"], f["forward"], f["forward_causal"], f["backward"], f["forward"] / whole["forward"])
        for name, f in lines
    ]
    return Table(
        msg("By component"), (Column(msg("component")), *_COUNTS, Column(msg("share"), "percent")), rows, n_sums=1
    )


def _ops(spec: Spec, ops: list[OpFlops]) -> Table:
    whole = totals(ops)
    columns = (
        Column(msg("op")),
        Column(msg("layers"), "count"),
        *_COUNTS,
        Column(msg("share"), "percent"),
        Column(msg("formula")),
    )
    rows: list[tuple[Any, ...]] = [
        (
            path_in_group(op.row.path, op.row.group),
            op.row.layers,
            op.forward,
            op.forward,
            op.forward_causal,
            op.backward,
            op.forward / whole["forward"],
            op.row.formula.factored(),
        )
        for op in ops
    ]
    last = (msg("total"), None, whole["forward"], whole["forward"], whole["forward_causal"], whole["backward"], 1.0, "")
    return Table(msg("By op"), columns, [*rows, last], n_sums=1)


def _layers(spec: Spec, ops: list[OpFlops]) -> Table:
    whole, lines = totals(ops), by_layer(spec, ops)
    columns = (Column(msg("layer")), Column(msg("kind")), *_COUNTS, Column(msg("share"), "percent"))
    rows: list[tuple[Any, ...]] = [
        (
            line.label,
            line.kind,
            line.forward,
            line.forward,
            line.forward_causal,
            line.backward,
            line.forward / whole["forward"],
        )
        for line in lines
    ]
    last = (msg("total"), "", whole["forward"], whole["forward"], whole["forward_causal"], whole["backward"], 1.0)
    return Table(msg("Layer by layer"), columns, [*rows, last], n_sums=1)


_VIEWS: dict[View, Callable[[Spec, list[OpFlops]], Table]] = {
    "components": _components,
    "ops": _ops,
    "layers": _layers,
}


def conventions_table(found: list[Counted]) -> Table:
    """A line for each way to count a training step."""
    columns = (
        Column(msg("convention")),
        Column(msg("training step"), "count"),
        Column("", "human"),
        Column(msg("off exact"), "change"),
        Column(msg("formula")),
        Column(in_context("of a figure", "source")),
    )
    rows = [
        (c.convention.name, c.train_step, c.train_step, c.off, c.convention.formula, c.convention.source) for c in found
    ]
    return Table(msg("A training step, as papers count it"), columns, rows)


def data(found: WorkloadFlops) -> dict[str, Any]:
    """The same as plain data."""
    spec, ops = found.spec, found.ops
    shown: dict[str, Any] = {
        "total": totals(ops),
        "again": {"recompute": found.how.recompute, "dropout": found.how.dropout, **again(ops), "kind": "exact"},
        "elementwise": {**by_kind(found.elementwise), "kind": "modelled"},
        "by_component": by_component(ops),
        "ops": [
            {
                "op": path_pattern(op.row.path),
                "group": op.row.group,
                "component": op.row.component,
                "layers": op.row.layers,
                "forward": op.forward,
                "forward_causal": op.forward_causal,
                "backward": op.backward,
                "formula": str(op.row.formula),
                "kind": "exact",
            }
            for op in ops
        ],
        "layers": [
            {
                "layer": line.label,
                "layer_kind": line.kind,
                "forward": line.forward,
                "forward_causal": line.forward_causal,
                "backward": line.backward,
                "kind": "exact",
            }
            for line in by_layer(spec, ops)
        ],
    }
    if found.papers:
        shown["conventions"] = [
            {
                "name": str(c.convention.name),
                "train_step": c.train_step,
                "off": c.off,
                "source": str(c.convention.source),
            }
            for c in found.papers
        ]
    return shown
