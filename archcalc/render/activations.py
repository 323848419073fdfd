"""Saved activations of a training step as page blocks."""

from __future__ import annotations

from archcalc.analysis.activations import (
    ComponentActivations,
    KernelActivations,
    LayerActivations,
    SavedActivations,
    SavedTensor,
)
from archcalc.analysis.value_names import RECOMPUTE_NAMES, SURENESS
from archcalc.render.memory import View
from archcalc.render.page import Block, Table, Text
from archcalc.render.tables import table
from archcalc.spec.execution import Execution, Experts
from archcalc.words import Message, in_context, msg

_EXPERTS: dict[Experts, Message] = {
    "split": msg("sorted and split by expert"),
    "gather": msg("each with a copy of its expert's matrices"),
}


def blocks(result: SavedActivations, view: View) -> list[Block]:
    """Return the saved bytes by component, tensor or layer, and those of other kernels and recompute policies."""
    kernels = table(msg("Other kernels and recompute policies"), result.kernels, KernelActivations)
    return [_table(result, view), kernels, Text("", _notes(result.execution))]


def _table(result: SavedActivations, view: View) -> Table:
    title, total = _title(result), msg("total")
    if view == "tensors":
        return table(title, result.tensors, SavedTensor, total=total)
    if view == "layers":
        return table(title, result.layers, LayerActivations, total=total)
    return table(title, result.components, ComponentActivations, total=total)


def _title(result: SavedActivations) -> Message:
    return msg(
        "Saved activations: {attention} attention on {device}, {dtype}, recompute {recompute} ({sureness})",
        attention=result.execution.attention,
        device=result.execution.device,
        dtype=result.execution.dtype,
        recompute=RECOMPUTE_NAMES[result.execution.recompute],
        sureness=SURENESS[result.kind],
    )


def _notes(execution: Execution) -> list[Message]:
    return [
        msg(
            "What autograd saves in the model's forward pass for the backward pass: each storage once, without"
            " parameters and loss."
        ),
        msg(
            "Dropout {dropout}; tokens of a mixture of experts are {experts}. What a kernel does not support (dropout"
            " or latent attention in flash on a CPU, softcaps, sinks) runs on math or eager attention.",
            dropout=msg("as in the spec") if execution.dropout else in_context("dropout", "off"),
            experts=_EXPERTS[execution.experts],
        ),
    ]
