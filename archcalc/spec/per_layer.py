"""Per-layer embeddings of a stack: whether its layers and the table agree."""

from __future__ import annotations

from typing import Any

from msgspec import structs

from archcalc.errors import InputError
from archcalc.spec.branches import arms, with_parts
from archcalc.spec.ffn import PerLayerGate
from archcalc.spec.groups import layers_of
from archcalc.spec.layer import Layer, Stack
from archcalc.words import msg


def gates(layer: Layer) -> list[PerLayerGate]:
    """Return the parts of a layer that read its per-layer embedding."""
    return [arm.part for arm in arms(layer) if isinstance(arm.part, PerLayerGate)]


def with_per_layer(stack: Stack, vocab_size: int) -> Stack:
    """Return the stack with the rows of its per-layer embedding, and with the width of the gates that read it."""
    table = stack.per_layer
    if table is None:
        return stack

    def filled(part: Any) -> Any:
        if not isinstance(part, PerLayerGate):
            return part
        return structs.replace(part, d_per_layer=part.d_per_layer or table.d_per_layer)

    runs = tuple(
        structs.replace(run, pattern=tuple(with_parts(layer, filled) for layer in run.pattern)) for run in stack.runs
    )
    return structs.replace(stack, runs=runs, per_layer=structs.replace(table, n_rows=table.n_rows or vocab_size))


def check_per_layer(stack: Stack, role: str) -> None:
    """Raise InputError unless a resolved stack has per-layer embeddings exactly where layers read them."""
    layers, table = [layer for run in stack.runs for layer in run.pattern], stack.per_layer
    readers = [gate for layer in layers for gate in gates(layer)]
    where = f"{role}.per_layer"
    if table is None:
        if readers:
            raise InputError(
                msg("layers read it, but there is none"), where=where, allowed=msg("a per-layer embedding")
            )
        return
    if not any(map(gates, layers_of(stack))):  # a pattern longer than its run has unused layers
        raise InputError(msg("no layer reads it"), where=where, allowed=msg("null, or layers with a per_layer_gate"))
    if any(gate.d_per_layer != table.d_per_layer for gate in readers):
        raise InputError(
            msg("layers read another width than {width}", width=table.d_per_layer),
            where=f"{where}.d_per_layer",
            allowed=msg("the d_per_layer of every per_layer_gate"),
        )
    if stack.n_mtp and gates(layers_of(stack)[-1]):
        raise InputError(
            msg("its layers are copies of the last layer, which reads a per-layer embedding"),
            where=f"{role}.n_mtp",
            allowed="0",
        )
