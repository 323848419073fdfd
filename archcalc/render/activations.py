"""What autograd keeps of a training step, as page blocks and as plain data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

from msgspec import structs

from archcalc.analysis.activations import KeptBytes, by_tensor, per_layer, summary, sureness, totals
from archcalc.analysis.row_names import path_pattern
from archcalc.analysis.tensor_names import keeper_name, tensor_name
from archcalc.analysis.value_names import COMPONENT_NAMES, RECOMPUTE_NAMES, SURENESS
from archcalc.ledger.build import build
from archcalc.render.memory import View
from archcalc.render.page import Block, Column, Table, Text
from archcalc.spec import Spec
from archcalc.spec.execution import Device, Execution, Experts, Kernel, Recompute
from archcalc.spec.workload import Workload
from archcalc.units import human_bytes
from archcalc.words import Message, in_context, msg

_BYTES = (Column(msg("bytes"), "count"), Column("", "human"), Column(msg("share"), "percent"))

# The ways that are set side by side: what each keeps in all.
_WAYS: tuple[tuple[Kernel, Device], ...] = (("eager", "meta"), ("math", "meta"), ("flash", "cpu"), ("flash", "cuda"))
_EXPERTS: dict[Experts, Message] = {
    "split": msg("sorted and split by expert"),
    "gather": msg("each with a copy of its expert's matrices"),
}


def blocks(spec: Spec, work: Workload, how: Execution, view: View) -> list[Block]:
    """The kept bytes by component, tensor or layer, and every other way to carry the step out beside it."""
    kept = by_tensor(build(spec, how), work)
    return [_VIEWS[view](kept, how), _ways(spec, work, how), Text("", _notes(how))]


def _title(how: Execution) -> Message:
    return msg(
        "Saved activations: {attention} attention, {dtype}, recompute {recompute} ({sureness})",
        attention=how.attention,
        dtype=how.dtype,
        recompute=RECOMPUTE_NAMES[how.recompute],
        sureness=SURENESS[sureness(how)],
    )


def _components(kept: list[KeptBytes], how: Execution) -> Table:
    """By what keeps them; the square term of attention has a line of its own beside the components."""
    whole = totals(kept)
    total = whole["total_bytes"]
    rows = [_line(COMPONENT_NAMES[name], found, total) for name, found in whole["by_component"].items()]
    rows += [_line(msg("of it tokens × tokens"), whole["square_bytes"], total), _line(msg("total"), total, total)]
    return Table(_title(how), (Column(msg("component")), *_BYTES), rows, n_sums=2)


def _line(name: str | Message, found: int, total: int) -> tuple[Any, ...]:
    return name, found, human_bytes(found), found / total if total else 0.0


def _tensors(kept: list[KeptBytes], how: Execution) -> Table:
    columns = (
        Column(msg("kept by")),
        Column(msg("tensor")),
        Column(msg("as")),
        Column(msg("layers"), "count"),
        Column(msg("in each"), "count"),
        *_BYTES,
        Column(msg("formula")),
    )
    total = totals(kept)["total_bytes"]
    rows: list[tuple[Any, ...]] = [
        (
            keeper_name(one.row.path, one.row.activation.label, one.row.group),
            tensor_name(one.row.activation.label),
            one.row.activation.dtype,
            len(one.row.layer_indices) or None,
            one.layer_bytes,
            one.total_bytes,
            human_bytes(one.total_bytes),
            one.total_bytes / total if total else 0.0,
            one.row.formula.factored(),
        )
        for one in kept
    ]
    last = (msg("total"), "", "", None, None, total, human_bytes(total), 1.0, "")
    return Table(_title(how), columns, [*rows, last], n_sums=1)


def _layers(kept: list[KeptBytes], how: Execution) -> Table:
    lines = per_layer(kept)
    total, square = sum(line[1] for line in lines), sum(line[2] for line in lines)
    columns = (Column(msg("layer")), *_BYTES, Column(msg("tokens × tokens"), "count"))
    rows = [(*_line(label, found, total), squares) for label, found, squares in lines]
    return Table(_title(how), columns, [*rows, (*_line(msg("total"), total, total), square)], n_sums=1)


_VIEWS: dict[View, Callable[[list[KeptBytes], Execution], Table]] = {
    "components": _components,
    "tensors": _tensors,
    "layers": _layers,
}


def _ways(spec: Spec, work: Workload, how: Execution) -> Table:
    """Kernels down, recomputation across."""
    columns = (
        Column(msg("attention")),
        Column(msg("on")),
        *(Column(msg("recompute {policy}", policy=RECOMPUTE_NAMES[r]), "human") for r in get_args(Recompute)),
    )
    rows = []
    for kernel, device in _WAYS:
        ways = [structs.replace(how, attention=kernel, device=device, recompute=r) for r in get_args(Recompute)]
        found = [human_bytes(summary(build(spec, way), work)["total_bytes"]) for way in ways]
        rows.append((kernel, msg("{name} ({sureness})", name=device, sureness=SURENESS[sureness(ways[0])]), *found))
    return Table(msg("Other ways"), columns, rows)


def _notes(how: Execution) -> list[Message]:
    return [
        msg(
            "What autograd keeps between the forward and the backward pass of the model itself: each storage once,"
            " parameters and the loss apart."
        ),
        msg(
            "Dropout {dropout}; a mixture's choices {experts}. What a kernel cannot do (dropout or latent attention"
            " by the CPU's flash, softcaps, sinks) is done by math or eager attention.",
            dropout=msg("as the spec says") if how.dropout else in_context("dropout", "off"),
            experts=_EXPERTS[how.experts],
        ),
    ]


def data(spec: Spec, work: Workload, how: Execution) -> dict[str, Any]:
    """The same as plain data."""
    kept = by_tensor(build(spec, how), work)
    return {
        **totals(kept),
        "execution": structs.asdict(how),
        "kind": sureness(how),
        "tensors": [_datum(one) for one in kept],
    }


def _datum(one: KeptBytes) -> dict[str, Any]:
    return {
        "kept_by": path_pattern(one.row.path),
        "tensor": one.row.activation.label,
        "group": one.row.group,
        "component": one.row.component,
        "dtype": one.row.activation.dtype,
        "layers": len(one.row.layer_indices),
        "bytes": one.total_bytes,
        "square": one.row.is_square,
        "formula": str(one.row.formula),
    }
