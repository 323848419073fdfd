"""Memory of a training step: persistent bytes, saved activations, the peak. The record says which are exact."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec

from archcalc.analysis.activations import SavedActivations, saved_activations
from archcalc.analysis.closed_form import Rewriter
from archcalc.analysis.papers.activation_conventions import ActivationConventions, activation_conventions
from archcalc.analysis.peak import StepPeak, moments, step_peak
from archcalc.analysis.row_names import path_pattern
from archcalc.analysis.training import (
    PARTS,
    Part,
    PersistentBytes,
    PersistentTensor,
    Precision,
    by_component,
    formulas,
    persistent_bytes,
)
from archcalc.analysis.training_setup import TrainingSetup
from archcalc.analysis.value_names import COMPONENT_NAMES, SURENESS
from archcalc.ledger.algebra import Poly
from archcalc.ledger.leaves import Component, Kind
from archcalc.results import Result, Row, Sureness, count, data, number, share, text
from archcalc.spec.workload import Workload
from archcalc.words import Message, msg

# Beside the persistent parts: frozen weights and adapters of a LoRA, and the saved activations of a step.
StepPart = Literal["frozen", "adapters", "activations"] | Part

PART_NAMES: dict[StepPart, Message] = {
    "frozen": msg("frozen weights"),
    "adapters": msg("adapters"),
    "weights": msg("weights"),
    "gradients": msg("gradients"),
    "master": msg("master copy"),
    "optimizer": msg("optimizer states"),
    "activations": msg("saved activations"),
}


class PartMemory(Row, frozen=True, kw_only=True):
    """One part of the memory; `format` is '' where it has several, `formula` None where it is no polynomial."""

    part: Annotated[StepPart, text(msg("part"), names=PART_NAMES)]
    format: Annotated[str, text(msg("stored as"))]
    bytes: Annotated[int, count(msg("bytes"), rounded="bytes")]
    share: Annotated[float, share(msg("share"))]
    bytes_per_parameter: Annotated[float, number(msg("bytes per parameter"), "decimal", is_summed=True)]
    formula: Annotated[str | None, data(msg("bytes by formula"))]
    kind: Annotated[Sureness, text(msg("exact or modeled"), names=SURENESS, shown="varied")]


class PersistentRow(Row, frozen=True, kw_only=True):
    """The persistent bytes of a part of the model; step counters are not part of `bytes`."""

    weights_bytes: Annotated[int, count(PART_NAMES["weights"])]
    gradients_bytes: Annotated[int, count(PART_NAMES["gradients"])]
    master_bytes: Annotated[int, count(PART_NAMES["master"])]
    optimizer_bytes: Annotated[int, count(PART_NAMES["optimizer"])]
    bytes: Annotated[int, count(msg("bytes"), rounded="bytes")]
    share: Annotated[float, share(msg("share"))]
    step_counters_bytes: Annotated[int, data(msg("bytes of step counters on the host"))]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))]


class ComponentTraining(PersistentRow, frozen=True, kw_only=True):
    """The persistent bytes of one component, or of the buffers."""

    component: Annotated[
        Component | Literal["buffers"], text(msg("component"), names={**COMPONENT_NAMES, "buffers": msg("buffers")})
    ]


class TrainingTensor(PersistentRow, frozen=True, kw_only=True):
    """The persistent bytes of a weight or buffer over all its layers."""

    path: Annotated[str, text(msg("tensor"))]
    group: Annotated[str, text(msg("kind of layer"), shown="varied")]
    component: Annotated[Component, data(msg("component"))]
    tensor_kind: Annotated[Kind, data(msg("trainable, frozen or buffer"))]
    layers: Annotated[int, count(msg("layers"), is_summed=False)]


class TrainingMemory(Result, frozen=True, kw_only=True):
    """Bytes of a training step: `total_bytes` from step to step, and `step_bytes` with the saved activations."""

    name: Annotated[str, data(msg("name of the model"))]
    label: Annotated[str, data(msg("title of the model"))]
    workload: Annotated[Workload, data(msg("workload"))]
    recipe: Annotated[str, data(msg("mixed-precision recipe"))]
    optimizer: Annotated[str, data(msg("optimizer"))]
    dtypes: Annotated[Precision, data(msg("dtypes of weights, gradients and master copy"))]
    weights_bytes: Annotated[int, data(msg("bytes of the weights"))]
    gradients_bytes: Annotated[int, data(msg("bytes of the gradients"))]
    master_bytes: Annotated[int, data(msg("bytes of the master copy"))]
    optimizer_bytes: Annotated[int, data(msg("bytes of the optimizer states"))]
    total_bytes: Annotated[int, data(msg("bytes from step to step"))]
    step_counters_bytes: Annotated[int, data(msg("bytes of step counters on the host"))]
    step_bytes: Annotated[int, data(msg("bytes with the saved activations"))]
    parameters: Annotated[int, data(msg("parameters"))]
    parts: Annotated[tuple[PartMemory, ...], data(msg("parts of a training step"))]
    components: Annotated[tuple[ComponentTraining, ...], data(msg("persistent bytes by component"))]
    weights: Annotated[tuple[TrainingTensor, ...], data(msg("persistent bytes by tensor"))]
    activations: Annotated[SavedActivations, data(msg("saved activations"))]
    peak: Annotated[StepPeak, data(msg("peak of a step"))]
    conventions: Annotated[ActivationConventions | None, data(msg("saved activations as a paper counts them"))]


def training_memory(setup: TrainingSetup) -> TrainingMemory:
    """Return the memory of a training step.

    Raise InputError where conventions are asked of a model that is not a decoder.
    """
    spec, work, execution, tensors = setup.spec, setup.work, setup.execution, setup.tensors()
    total, saved = persistent_bytes(tensors), saved_activations(spec, work, execution)
    return TrainingMemory(
        name=spec.name,
        label=spec.label,
        workload=work,
        recipe=setup.recipe.name,
        optimizer=setup.optimizer.name,
        dtypes=setup.precision,
        **part_bytes(total),
        total_bytes=total.bytes,
        step_counters_bytes=total.step_counters_bytes,
        step_bytes=total.bytes + saved.bytes,
        parameters=setup.ledger.total(),
        parts=_parts(setup, total, saved),
        components=tuple(_components(tensors, total)),
        weights=tuple(_tensor(tensor, total) for tensor in tensors),
        activations=saved,
        peak=step_peak(moments(spec, work, execution, tensors), setup.tracked, setup.process_bytes),
        conventions=activation_conventions(spec, work) if setup.has_conventions else None,
    )


def part_bytes(size: PersistentBytes) -> dict[str, int]:
    """Return the bytes of each part by the name of its field."""
    return {f"{part}_bytes": size.of(part) for part in PARTS}


def _parts(setup: TrainingSetup, total: PersistentBytes, saved: SavedActivations) -> tuple[PartMemory, ...]:
    symbols = formulas(setup.ledger.rows, setup.precision, setup.optimizer)
    persistent = persistent_parts(total, setup.precision, symbols, Rewriter(setup.ledger))
    activations = PartSize("activations", saved.execution.dtype, saved.bytes, None, saved.kind)
    return parts_of([*persistent, activations], setup.ledger.total())


class PartSize(msgspec.Struct, frozen=True):
    """A part, its format, its bytes and their formula."""

    part: StepPart
    format: str
    bytes: int
    formula: str | None
    kind: Sureness = "exact"


def persistent_parts(
    total: PersistentBytes, precision: Precision, symbols: Mapping[Part, Poly | None], rewriter: Rewriter
) -> Iterator[PartSize]:
    """Yield each persistent part that has bytes."""
    dtypes = {"weights": precision.weights, "gradients": precision.gradients, "master": precision.master}
    for part in PARTS:
        if size := total.of(part):
            poly = symbols[part]
            formula = None if poly is None else rewriter.equation(poly)
            yield PartSize(part, dtypes.get(part) or "", size, formula)


def parts_of(sizes: Sequence[PartSize], n_parameters: int) -> tuple[PartMemory, ...]:
    """Return the rows of parts; bytes per parameter are those of the model."""
    total = sum(size.bytes for size in sizes)
    return tuple(
        PartMemory(
            part=size.part,
            format=size.format,
            bytes=size.bytes,
            share=size.bytes / total,
            bytes_per_parameter=size.bytes / n_parameters,
            formula=size.formula,
            kind=size.kind,
        )
        for size in sizes
    )


def _components(tensors: Sequence[PersistentTensor], total: PersistentBytes) -> Iterator[ComponentTraining]:
    for component, size in by_component(tensors).items():
        yield ComponentTraining(component=component, **_figures(size, total))


def _tensor(tensor: PersistentTensor, total: PersistentBytes) -> TrainingTensor:
    row = tensor.row
    return TrainingTensor(
        path=path_pattern(row.path),
        group=row.group,
        component=row.component,
        tensor_kind=row.kind,
        layers=row.layers,
        **_figures(persistent_bytes([tensor]), total),
    )


def _figures(size: PersistentBytes, total: PersistentBytes) -> dict[str, Any]:
    """Return the fields of a `PersistentRow`."""
    return {
        **part_bytes(size),
        "bytes": size.bytes,
        "share": size.bytes / total.bytes,
        "step_counters_bytes": size.step_counters_bytes,
        "kind": "exact",
    }
