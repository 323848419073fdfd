"""FLOPs of a workload, forward and backward, by component, product and layer; and of a training step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from msgspec import structs

from archcalc.analysis.closed_form import Rewriter
from archcalc.analysis.elementwise import ElementwiseFlops, elementwise_flops
from archcalc.analysis.flops import OpFlops, by_component, by_op, recomputation, totals
from archcalc.analysis.latent_forms import LatentFlops, latent_forms
from archcalc.analysis.layers import LayerFlops, by_layer
from archcalc.analysis.papers.conventions import ConventionFlops, convention_flops
from archcalc.analysis.row_names import path_pattern
from archcalc.analysis.value_names import COMPONENT_NAMES
from archcalc.ledger.build import build
from archcalc.ledger.leaves import Component
from archcalc.ledger.rows import Ledger
from archcalc.results import Result, Row, Sureness, count, data, number, product, share, text
from archcalc.spec import Spec
from archcalc.spec.execution import Execution, Recompute
from archcalc.spec.workload import Workload
from archcalc.words import msg

# Where torch.utils.checkpoint stops recomputing.
CheckpointEnd = Literal["none", "early_stop", "to_the_end"]


class ComponentFlops(Row, frozen=True, kw_only=True):
    """FLOPs of the products of one component."""

    component: Annotated[Component, text(msg("component"), names=COMPONENT_NAMES)]
    forward: Annotated[int, count(msg("forward"), rounded="count")]
    forward_causal: Annotated[int, count(msg("causal"))]
    backward: Annotated[int, count(msg("backward"))]
    train_step: Annotated[int, data(msg("forward and backward"))]
    share: Annotated[float, share(msg("share"))]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))] = "exact"


class MatmulFlops(Row, frozen=True, kw_only=True):
    """FLOPs of a matrix product or convolution over all its layers: twice the product of `axes`, times `layers`.

    `formula` is of `forward`.
    """

    path: Annotated[str, text(msg("operation"))]
    group: Annotated[str, text(msg("kind of layer"), shown="varied")]
    component: Annotated[Component, data(msg("component"))]
    axes: Annotated[tuple[str, ...], product(msg("axes"))]
    layers: Annotated[int, count(msg("layers"), is_summed=False)]
    forward: Annotated[int, count(msg("forward"), rounded="count")]
    forward_causal: Annotated[int, count(msg("causal"))]
    backward: Annotated[int, count(msg("backward"))]
    share: Annotated[float, share(msg("share"))]
    formula: Annotated[str, data(msg("forward FLOPs by formula"))]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))] = "exact"


class StepFlops(Row, frozen=True, kw_only=True):
    """FLOPs of a training step; with activation checkpointing, by where the checkpoint stops recomputing.

    early_stop: at the last tensor that is needed, torch's default. to_the_end: with set_checkpoint_early_stop(False),
    as textbooks count. `ratio` is to a step without recomputation.
    """

    checkpoint: Annotated[
        CheckpointEnd,
        text(
            msg("checkpoint"),
            names={"none": msg("none"), "early_stop": msg("early stop"), "to_the_end": msg("to the end")},
        ),
    ]
    forward: Annotated[int, count(msg("forward"))]
    backward: Annotated[int, count(msg("backward"))]
    recomputation: Annotated[int, count(msg("recomputation"))]
    total: Annotated[int, count(msg("step"), rounded="count")]
    ratio: Annotated[float, number(msg("of a plain step"), "percent")]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))] = "exact"


class WorkloadFlops(Result, frozen=True, kw_only=True):
    """FLOPs of a workload: 2 for each multiply-accumulate of matrix products and convolutions.

    forward: over every key that a layer holds. forward_causal: over the attended pairs only. backward and train_step:
    of `forward`. A workload with a past has no training steps.
    """

    name: Annotated[str, data(msg("name of the model"))]
    label: Annotated[str, data(msg("title of the model"))]
    family: Annotated[str, data(msg("decoder, encoder or encoder-decoder"))]
    workload: Annotated[Workload, data(msg("workload"))]
    recompute: Annotated[Recompute, data(msg("what activation checkpointing recomputes"))]
    dropout: Annotated[bool, data(msg("whether dropout is active"))]
    has_latent_cache: Annotated[bool, data(msg("whether keys and values are rebuilt from cached latents"))]
    forward: Annotated[int, data(msg("forward FLOPs over every key held"))]
    forward_causal: Annotated[int, data(msg("forward FLOPs over attended pairs"))]
    backward: Annotated[int, data(msg("backward FLOPs"))]
    train_step: Annotated[int, data(msg("forward and backward"))]
    components: Annotated[tuple[ComponentFlops, ...], data(msg("by component"))]
    ops: Annotated[tuple[MatmulFlops, ...], data(msg("by matrix product"))]
    layers: Annotated[tuple[LayerFlops, ...], data(msg("by layer"))]
    elementwise: Annotated[tuple[ElementwiseFlops, ...], data(msg("elementwise operations"))]
    training_steps: Annotated[tuple[StepFlops, ...], data(msg("training step"))]
    latent_forms: Annotated[tuple[LatentFlops, ...], data(msg("latent attention, expanded and absorbed"))]
    conventions: Annotated[tuple[ConventionFlops, ...], data(msg("a training step, as papers count it"))]


def workload_flops(spec: Spec, work: Workload, how: Execution, *, conventions: bool = False) -> WorkloadFlops:
    """Return the FLOPs of a spec's workload; with `conventions`, also a training step as papers count it.

    Raises InputError for the conventions of a model that is not a decoder.
    """
    ledger = build(spec, how)
    ops = by_op(ledger, work)
    return WorkloadFlops(
        name=spec.name,
        label=spec.label,
        family=spec.family,
        workload=work,
        recompute=how.recompute,
        dropout=how.dropout,
        has_latent_cache=any("latent" in row.cache.name for row in ledger.caches),
        **totals(ops),
        components=tuple(_components(ops)),
        ops=tuple(matmul_flops(ledger, work, ops)),
        layers=tuple(by_layer(spec, ops)),
        elementwise=tuple(elementwise_flops(ledger, work)),
        training_steps=() if work.past else tuple(_steps(ops, how)),
        latent_forms=latent_forms(spec, ops, work),
        conventions=tuple(convention_flops(spec, ledger, work)) if conventions else (),
    )


def _components(ops: Sequence[OpFlops]) -> Iterator[ComponentFlops]:
    total = sum(op.forward for op in ops)
    for component, flops in by_component(ops).items():
        yield ComponentFlops(component=component, share=flops["forward"] / total, **flops)


def matmul_flops(ledger: Ledger, work: Workload, ops: Sequence[OpFlops]) -> Iterator[MatmulFlops]:
    """Yield the FLOPs of every matrix product with its formula, in the order of the ledger."""
    rewriter, total = Rewriter(structs.replace(ledger, sizes=ledger.at(work))), sum(op.forward for op in ops)
    for op in ops:
        yield MatmulFlops(
            path=path_pattern(op.row.path),
            group=op.row.group,
            component=op.row.component,
            axes=tuple(axis.factored() for axis in op.row.matmul.axes),
            layers=op.row.layers,
            forward=op.forward,
            forward_causal=op.forward_causal,
            backward=op.backward,
            share=op.forward / total,
            formula=rewriter.equation(op.row.formula),
        )


def _steps(ops: Sequence[OpFlops], how: Execution) -> Iterator[StepFlops]:
    """Yield the training step; with recomputation, one for each end of the checkpoint."""
    flops = totals(ops)
    ends: tuple[CheckpointEnd, ...] = ("none",) if how.recompute == "none" else ("early_stop", "to_the_end")
    for end in ends:
        recomputed = recomputation(ops, early_stop=end == "early_stop")
        total = flops["train_step"] + recomputed
        yield StepFlops(
            checkpoint=end,
            forward=flops["forward"],
            backward=flops["backward"],
            recomputation=recomputed,
            total=total,
            ratio=total / flops["train_step"],
        )
