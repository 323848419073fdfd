"""Bytes that autograd saves in a forward pass for the backward pass.

Exact for the execution that the ledger was built with (`archcalc.spec.execution.Execution`): each storage once, without
parameters. On a GPU the same rules are a model that was not measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Final, get_args

import msgspec
from msgspec import structs

from archcalc.analysis.closed_form import Rewriter
from archcalc.analysis.row_names import path_pattern
from archcalc.analysis.tensor_names import module_name, tensor_name
from archcalc.analysis.value_names import COMPONENT_NAMES, RECOMPUTE_NAMES, SURENESS
from archcalc.ledger.build import build
from archcalc.ledger.leaves import COMPONENTS, Component
from archcalc.ledger.rows import Ledger, SavedActivationRow
from archcalc.results import Field, Result, Row, Sureness, count, data, share, text
from archcalc.spec import Spec
from archcalc.spec.execution import Device, Execution, Kernel, Recompute
from archcalc.spec.workload import Workload
from archcalc.words import Message, msg

# The kernels that are compared: attention, device.
_KERNELS: Final[tuple[tuple[Kernel, Device], ...]] = (
    ("eager", "meta"),
    ("math", "meta"),
    ("flash", "cpu"),
    ("flash", "cuda"),
)
_POLICIES: Final = {name: msg("recompute {policy}", policy=policy) for name, policy in RECOMPUTE_NAMES.items()}


class ComponentActivations(Row, frozen=True, kw_only=True):
    """Bytes saved by one component; `square_bytes` of them grow with the square of the sequence."""

    component: Annotated[Component, text(msg("component"), names=COMPONENT_NAMES)]
    bytes: Annotated[int, count(msg("bytes"), rounded="bytes")]
    share: Annotated[float, share(msg("share"))]
    square_bytes: Annotated[int, count(msg("tokens × tokens"))]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))]


class LayerActivations(Row, frozen=True, kw_only=True):
    """Bytes saved by one layer, or by what is outside the layers."""

    layer: Annotated[str | Message, text(msg("layer"))]
    bytes: Annotated[int, count(msg("bytes"), rounded="bytes")]
    share: Annotated[float, share(msg("share"))]
    square_bytes: Annotated[int, count(msg("tokens × tokens"))]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))]


class SavedTensor(Row, frozen=True, kw_only=True):
    """A saved tensor over all its layers; `path` is the operation that saves it, `layers` 0 outside the layers."""

    path: Annotated[str | Message, text(msg("saved by"))]
    group: Annotated[str, text(msg("kind of layer"), shown="varied")]
    tensor: Annotated[str | Message, text(msg("tensor"))]
    component: Annotated[Component, data(msg("component"))]
    dtype: Annotated[str, text(msg("dtype"))]
    layers: Annotated[int, count(msg("layers"), is_summed=False)]
    layer_bytes: Annotated[int, count(msg("in each"), is_summed=False)]
    bytes: Annotated[int, count(msg("bytes"), rounded="bytes")]
    share: Annotated[float, share(msg("share"))]
    is_square: Annotated[bool, data(msg("whether it grows with the square of the sequence"))]
    formula: Annotated[str, text(msg("formula"))]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))]


class KernelActivations(Row, frozen=True, kw_only=True):
    """Bytes that an attention kernel saves, by recompute policy."""

    attention: Annotated[Kernel, text(msg("attention"))]
    device: Annotated[Device, text(msg("device"))]
    bytes: Annotated[
        dict[Recompute, int],
        Field(heading=msg("bytes by recompute policy"), kind="count", names=_POLICIES),
    ]
    kind: Annotated[Sureness, text(msg("exact or modeled"), names=SURENESS)]


class SavedActivations(Result, frozen=True, kw_only=True):
    """Bytes that a training step saves, and what other kernels and recompute policies would save."""

    execution: Annotated[Execution, data(msg("how the step is executed"))]
    bytes: Annotated[int, data(msg("bytes"))]
    square_bytes: Annotated[int, data(msg("bytes that grow with the square of the sequence"))]
    by_stack: Annotated[dict[str, int], data(msg("bytes in the layers of each stack, and outside the layers"))]
    components: Annotated[tuple[ComponentActivations, ...], data(msg("saved activations by component"))]
    layers: Annotated[tuple[LayerActivations, ...], data(msg("saved activations by layer"))]
    tensors: Annotated[tuple[SavedTensor, ...], data(msg("saved tensors"))]
    kernels: Annotated[tuple[KernelActivations, ...], data(msg("saved activations by kernel and recompute policy"))]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))]


class ActivationBytes(msgspec.Struct, frozen=True):
    """The bytes of a saved tensor over all its layers and sequences."""

    row: SavedActivationRow
    bytes: int

    @property
    def layer_bytes(self) -> int:
        """Return the bytes in one layer; outside the layers, all of them."""
        return self.bytes // max(1, len(self.row.layer_indices))


def activation_bytes(ledger: Ledger, work: Workload) -> list[ActivationBytes]:
    """Return the bytes of each saved tensor, in the order of the forward pass of a training step."""
    sizes = ledger.at(work)
    return [ActivationBytes(row, row.bytes(sizes)) for row in ledger.saved_activations]


def total_bytes(ledger: Ledger, work: Workload) -> int:
    """Return the bytes of all saved tensors."""
    return sum(one.bytes for one in activation_bytes(ledger, work))


def saved_activations(spec: Spec, work: Workload, execution: Execution) -> SavedActivations:
    """Return the activations that a training step saves."""
    ledger = build(spec, execution)
    tensors = saved_tensors(ledger, work, execution)
    total = sum(tensor.bytes for tensor in tensors)
    saved = activation_bytes(ledger, work)
    return SavedActivations(
        execution=execution,
        bytes=total,
        square_bytes=_square_bytes(tensors),
        by_stack=_by_stack(saved),
        components=tuple(_components(tensors, total)),
        layers=tuple(_layers(saved, total, sureness(execution))),
        tensors=tensors,
        kernels=tuple(_kernel(spec, work, execution, *kernel) for kernel in _KERNELS),
        kind=sureness(execution),
    )


def saved_tensors(ledger: Ledger, work: Workload, execution: Execution) -> tuple[SavedTensor, ...]:
    """Return a row for each saved tensor; the ledger must be that of `execution`."""
    rewriter = Rewriter(structs.replace(ledger, sizes=ledger.at(work)))
    saved = activation_bytes(ledger, work)
    total = sum(one.bytes for one in saved)
    return tuple(
        SavedTensor(
            path=module_name(path_pattern(one.row.path), one.row.activation.label),
            group=one.row.group,
            tensor=tensor_name(one.row.activation.label),
            component=one.row.component,
            dtype=one.row.activation.dtype,
            layers=len(one.row.layer_indices),
            layer_bytes=one.layer_bytes,
            bytes=one.bytes,
            share=one.bytes / total if total else 0.0,
            is_square=one.row.is_square,
            formula=rewriter.equation(one.row.formula),
            kind=sureness(execution),
        )
        for one in saved
    )


def sureness(execution: Execution) -> Sureness:
    """Return 'exact' for meta and the CPU, where figures equal the measured ones; 'modeled' for a GPU."""
    return "modeled" if execution.device == "cuda" else "exact"


def _square_bytes(tensors: Sequence[SavedTensor]) -> int:
    return sum(tensor.bytes for tensor in tensors if tensor.is_square)


def _components(tensors: Sequence[SavedTensor], total: int) -> Iterator[ComponentActivations]:
    for component in COMPONENTS:
        own = [tensor for tensor in tensors if tensor.component == component]
        if size := sum(tensor.bytes for tensor in own):
            yield ComponentActivations(
                component=component,
                bytes=size,
                share=size / total,
                square_bytes=_square_bytes(own),
                kind=own[0].kind,
            )


def _by_stack(saved: Sequence[ActivationBytes]) -> dict[str, int]:
    """Return the bytes in the layers of each stack and outside them: 'layers', 'encoder.layers', 'outside'."""
    sizes: dict[str, int] = {}
    for one in saved:
        prefix, has_layers, _ = one.row.path.partition(".{i}")
        stack = prefix if has_layers else "outside"
        sizes[stack] = sizes.get(stack, 0) + one.bytes
    return sizes


def _layers(saved: Sequence[ActivationBytes], total: int, kind: Sureness) -> Iterator[LayerActivations]:
    sizes: dict[str, tuple[int, int]] = {}
    for one in saved:
        prefix, has_layers, _ = one.row.path.partition("{i}")
        square = one.layer_bytes if one.row.is_square else 0
        for layer in [f"{prefix}{index}" for index in one.row.layer_indices] if has_layers else [""]:
            of_layer, square_of_layer = sizes.get(layer, (0, 0))
            sizes[layer] = of_layer + one.layer_bytes, square_of_layer + square
    for layer, (size, square) in sizes.items():
        yield LayerActivations(
            layer=layer or msg("outside the layers"),
            bytes=size,
            share=size / total if total else 0.0,
            square_bytes=square,
            kind=kind,
        )


def _kernel(spec: Spec, work: Workload, execution: Execution, attention: Kernel, device: Device) -> KernelActivations:
    sizes: dict[Recompute, int] = {}
    for recompute in get_args(Recompute):
        other = structs.replace(execution, attention=attention, device=device, recompute=recompute)
        sizes[recompute] = total_bytes(build(spec, other), work)
    return KernelActivations(attention=attention, device=device, bytes=sizes, kind=sureness(other))
