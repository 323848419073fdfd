"""FLOPs of a workload, as pages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from archcalc.analysis.elementwise import COSTS, ElementwiseFlops, by_kind
from archcalc.analysis.flops import OpFlops, again, by_component, totals
from archcalc.analysis.layers import by_layer
from archcalc.analysis.papers.conventions import Counted
from archcalc.analysis.row_names import path_in_group, path_pattern
from archcalc.analysis.workload_flops import WorkloadFlops
from archcalc.render.page import Block, Column, Page, Table, Text
from archcalc.spec import Spec
from archcalc.spec.workload import Workload
from archcalc.units import exact

View = Literal["components", "ops", "layers"]
VIEWS: tuple[View, ...] = ("components", "ops", "layers")

LATENT_NOTE = "Latent attention makes keys and values anew of every cached latent (kv_up runs over all keys held)."

_COUNTS = (Column("forward", "count"), Column("", "human"), Column("causal", "count"), Column("backward", "count"))


def page(found: WorkloadFlops, view: View) -> Page:
    """A workload's FLOPs by component, op or layer, and how papers would count a training step of it."""
    spec, work = found.spec, found.work
    blocks: list[Block] = [_VIEWS[view](spec, found.ops), _elementwise(found.elementwise)]
    if not work.past:
        blocks.append(_step(found))
    if found.papers:
        blocks.append(conventions_table(found.papers))
    notes = ["2 FLOPs a multiply-accumulate, matmuls alone: exact. Backward is twice forward."]
    if any("latent" in row.cache.name for row in found.ledger.caches):
        notes.append(LATENT_NOTE)
    blocks.append(Text("", notes))
    return Page(f"{spec.label}: FLOPs", subtitle(spec, work), blocks)


def _elementwise(found: list[ElementwiseFlops]) -> Table:
    """What stands on a line of its own, for its cost is a model."""
    rows: list[tuple[Any, ...]] = [(kind, cost, cost, *COSTS[kind]) for kind, cost in by_kind(found).items()]
    total = sum(one.forward for one in found)
    columns = (
        Column("operation"),
        Column("forward", "count"),
        Column("", "human"),
        Column("a number", "count"),
        Column("which are"),
    )
    return Table("Elementwise (modelled)", columns, [*rows, ("total", total, total, None, "")], n_sums=1)


def _step(found: WorkloadFlops) -> Table:
    """A training step, and what its checkpoints compute again: as torch does it, and as textbooks count it."""
    whole, more = totals(found.ops), again(found.ops)
    lines = [("forward", whole["forward"]), ("backward", whole["backward"])]
    sums = [("step", whole["train_step"])]
    if found.how.recompute != "none":
        lines += [("again, early stop", more["early_stop"]), ("again, to the end", more["to_the_end"])]
        sums = [
            ("step, early stop", whole["train_step"] + more["early_stop"]),
            ("step, to the end", whole["train_step"] + more["to_the_end"]),
        ]
    rows = [(name, count, count, count / whole["train_step"]) for name, count in (*lines, *sums)]
    columns = (Column("part"), Column("FLOPs", "count"), Column("", "human"), Column("of a plain step", "percent"))
    return Table(f"A training step: recompute {found.how.recompute}", columns, rows, n_sums=len(sums))


def subtitle(spec: Spec, work: Workload) -> str:
    """The model and the workload, in words."""
    words = [spec.name, f"batch {exact(work.batch)}", f"{exact(work.seq)} new tokens", f"{exact(work.past)} past"]
    if spec.family == "encoder-decoder":
        words.append(f"source {exact(work.source_seq)}")
    return " · ".join(words)


def _components(spec: Spec, ops: list[OpFlops]) -> Table:
    whole = totals(ops)
    lines = [*by_component(ops).items(), ("total", whole)]
    rows = [
        (name, f["forward"], f["forward"], f["forward_causal"], f["backward"], f["forward"] / whole["forward"])
        for name, f in lines
    ]
    return Table("By component", (Column("component"), *_COUNTS, Column("share", "percent")), rows, n_sums=1)


def _ops(spec: Spec, ops: list[OpFlops]) -> Table:
    whole = totals(ops)
    columns = (Column("op"), Column("layers", "count"), *_COUNTS, Column("share", "percent"), Column("formula"))
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
    last = ("total", None, whole["forward"], whole["forward"], whole["forward_causal"], whole["backward"], 1.0, "")
    return Table("By op", columns, [*rows, last], n_sums=1)


def _layers(spec: Spec, ops: list[OpFlops]) -> Table:
    whole, lines = totals(ops), by_layer(spec, ops)
    columns = (Column("layer"), Column("kind"), *_COUNTS, Column("share", "percent"))
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
    last = ("total", "", whole["forward"], whole["forward"], whole["forward_causal"], whole["backward"], 1.0)
    return Table("Layer by layer", columns, [*rows, last], n_sums=1)


_VIEWS: dict[View, Callable[[Spec, list[OpFlops]], Table]] = {
    "components": _components,
    "ops": _ops,
    "layers": _layers,
}


def conventions_table(found: list[Counted]) -> Table:
    """A line for each way to count a training step."""
    columns = (
        Column("convention"),
        Column("training step", "count"),
        Column("", "human"),
        Column("off exact", "change"),
        Column("formula"),
        Column("source"),
    )
    rows = [
        (c.convention.name, c.train_step, c.train_step, c.off, c.convention.formula, c.convention.source) for c in found
    ]
    return Table("A training step, as papers count it", columns, rows)


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
            {"name": c.convention.name, "train_step": c.train_step, "off": c.off, "source": c.convention.source}
            for c in found.papers
        ]
    return shown
