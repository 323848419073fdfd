"""The report of a model: its parameters by component, layer and weight, and what a workload costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Annotated, Any, Final

from archcalc.analysis.closed_form import ClosedForm, closed_form
from archcalc.analysis.inference_memory import ComponentMemory, component_memory
from archcalc.analysis.model_workload import ModelWorkload
from archcalc.analysis.params import (
    ComponentParams,
    LayerParams,
    Summary,
    WeightParams,
    component_params,
    layer_params,
    weight_params,
)
from archcalc.analysis.report import Figures, figures
from archcalc.analysis.stored_mtp import MtpTotals, with_stored_mtp
from archcalc.analysis.stored_weights import storage_name
from archcalc.ledger.rows import Ledger
from archcalc.results import Result, Row, Sureness, count, data, text
from archcalc.spec.groups import groups
from archcalc.spec.model import Family, ModelStack
from archcalc.spec.workload import Workload
from archcalc.units import human
from archcalc.words import Bytes, Message, msg

_TOTAL_NAMES: Final = {
    "total": msg("total"),
    "with_mtp": msg("with multi-token prediction"),
    "with_mtp_as_stored": msg("… as the files store it"),
    "untied": msg("untied"),
    "without_per_layer_embedding": msg("without per-layer embedding"),
    "non_embedding": msg("non-embedding"),
    "active": msg("active"),
    "active_without_input_embedding": msg("… less input embedding"),
    "active_without_embedding_and_head": msg("… less embedding and head"),
    "trainable": msg("trainable"),
    "frozen": msg("frozen"),
    "buffers": msg("buffers"),
}
_TOTAL_MEANINGS: Final = {
    "total": msg("every stored tensor once"),
    "with_mtp": msg("and the modules in the files that the class leaves out"),
    "with_mtp_as_stored": msg("every tensor of the files: copies of tables, and buffers"),
    "untied": msg("the tied head as a matrix of its own"),
    "without_per_layer_embedding": msg("what Gemma 4 calls its effective size"),
    "non_embedding": msg("without embedding, positions, head"),
    "active": msg("what one token uses, embedding and head included"),
    "frozen": msg("stored, not trained"),
    "buffers": msg("stored beside the parameters, in no total"),
}
_COST_NAMES: Final = {
    "flops.forward": msg("forward FLOPs"),
    "flops.forward_causal": msg("forward, causal FLOPs"),
    "flops.train_step": msg("training step FLOPs"),
    "memory.weights_bytes": msg("weights bytes"),
    "memory.kv_cache_bytes": msg("KV cache bytes"),
    "memory.state_bytes": msg("state bytes"),
}


class TotalParams(Row, frozen=True, kw_only=True):
    """A total of parameters, under its name in the JSON report."""

    figure: Annotated[str, text(msg("count"), names=_TOTAL_NAMES)]
    parameters: Annotated[int, count(msg("exact"), rounded="count")]
    description: Annotated[str | Message, text(msg("what it counts"))]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))] = "exact"


class Cost(Row, frozen=True, kw_only=True):
    """FLOPs or bytes of a workload, under their name in the JSON report."""

    figure: Annotated[str, text(msg("cost"), names=_COST_NAMES)]
    value: Annotated[int, count(msg("exact"))]
    rounded: Annotated[str | Bytes, text(msg("rounded"))]
    description: Annotated[str | Message, text(msg("what it counts"))]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))] = "exact"


class StackLayers(Row, frozen=True, kw_only=True):
    """The layers of a stack, how many of each kind, and the sizes that only this stack has."""

    role: Annotated[str, data(msg("encoder or decoder, where there are both"))]
    layers: Annotated[int, data(msg("layers"))]
    groups: Annotated[dict[str, int], data(msg("layers by kind"))]
    d_model: Annotated[int | None, data("d_model")]
    vocab_size: Annotated[int | None, data("vocab_size")]
    n_ctx: Annotated[int | None, data("n_ctx")]


class ModelReport(Result, frozen=True, kw_only=True, dict=True):
    """The parameters of a model and the costs of a workload. Weights and layers are listed when they are first read."""

    name: Annotated[str, data(msg("name of the model"))]
    label: Annotated[str, data(msg("title of the model"))]
    family: Annotated[Family, data(msg("family"))]
    d_model: Annotated[int, data("d_model")]
    vocab_size: Annotated[int, data("vocab_size")]
    n_ctx: Annotated[int, data("n_ctx")]
    stacks: Annotated[tuple[StackLayers, ...], data(msg("stacks"))]
    workload: Annotated[Workload, data(msg("workload"))]
    is_tied: Annotated[bool, data(msg("whether the head is tied"))]
    components: Annotated[tuple[ComponentParams, ...], data(msg("parameters by component"))]
    totals: Annotated[tuple[TotalParams, ...], data(msg("totals"))]
    costs: Annotated[tuple[Cost, ...], data(msg("FLOPs and bytes of the workload"))]
    stored: Annotated[tuple[ComponentMemory, ...], data(msg("quantized weights by component and format"))]
    closed_form: Annotated[ClosedForm, data(msg("closed form"))]
    notes: Annotated[tuple[str | Message, ...], data(msg("what reading the source ignored or assumed"))]
    ledger: Annotated[Ledger, data("ledger")]

    @cached_property
    def weights(self) -> tuple[WeightParams, ...]:
        """Return the weights and buffers."""
        return weight_params(self.ledger)

    @cached_property
    def layers(self) -> tuple[LayerParams, ...]:
        """Return the parameters by layer."""
        return layer_params(self.ledger)


def model_report(subject: ModelWorkload) -> ModelReport:
    """Return the report of a model and its workload."""
    spec, ledger = subject.spec, subject.ledger
    values = figures(ledger, subject.work, subject.dtype, subject.weights_bytes)
    return ModelReport(
        name=spec.name,
        label=spec.label,
        family=spec.family,
        d_model=spec.d_model,
        vocab_size=spec.vocab_size,
        n_ctx=spec.n_ctx,
        stacks=tuple(map(_stack, spec.stacks)),
        workload=subject.work,
        is_tied=bool(ledger.tied),
        components=component_params(ledger),
        totals=tuple(_totals(_params(values["params"], with_stored_mtp(spec, ledger)), is_tied=bool(ledger.tied))),
        costs=tuple(_costs(values, subject)),
        stored=component_memory(ledger, subject.stored) if spec.about.storage.formats and subject.stored else (),
        closed_form=closed_form(ledger),
        notes=tuple(spec.about.provenance.notes),
        ledger=ledger,
    )


def _stack(each: ModelStack) -> StackLayers:
    stack = each.stack
    assert stack.n_layers is not None, "the spec is resolved"
    return StackLayers(
        role=each.prefix.rstrip("."),
        layers=stack.n_layers,
        groups={group.name: len(group.layer_indices) for group in groups(stack)},
        d_model=stack.d_model,
        vocab_size=stack.vocab_size,
        n_ctx=stack.n_ctx,
    )


def _params(params: Summary, with_mtp: MtpTotals | None) -> dict[str, Any]:
    """Return the totals by name, those of the files too."""
    extra = {"with_mtp": with_mtp["total"], "with_mtp_as_stored": with_mtp["as_stored"]} if with_mtp else {}
    return {**params, **extra}


def _totals(params: Mapping[str, Any], *, is_tied: bool) -> Iterator[TotalParams]:
    """Yield the totals that this model has and that differ from the total."""
    names = ["total"]
    names += ["with_mtp"] if "with_mtp" in params else []
    names += ["with_mtp_as_stored"] if params.get("with_mtp_as_stored") != params.get("with_mtp") else []
    names += ["untied"] if is_tied else []
    names += [name for name in ("without_per_layer_embedding", "non_embedding") if name in params]
    if params["active"] != params["total"]:
        names += ["active", "active_without_input_embedding", "active_without_embedding_and_head"]
    names += ["trainable", "frozen"] if params["frozen"] else []
    names += ["buffers"] if params["buffers"] else []
    for name in names:
        yield TotalParams(figure=name, parameters=params[name], description=_TOTAL_MEANINGS.get(name, ""))


def _stored_as(subject: ModelWorkload) -> str | Message:
    """Return the format of the weights, and what states it."""
    stated_by = subject.spec.about.storage.stated_by
    if not subject.stored or not stated_by:
        return subject.dtype
    return msg("{formats}, by {keys}", formats=storage_name(subject.stored), keys=", ".join(stated_by))


def _costs(values: Figures, subject: ModelWorkload) -> Iterator[Cost]:
    """Yield the costs that are not 0."""
    flops, memory, tokens = values["flops"], values["memory"], subject.work.past + subject.work.seq
    cached = msg("{dtype}, after {tokens:,} tokens", dtype=subject.dtype, tokens=tokens)
    costs: list[tuple[str, int, str | Message]] = [
        ("flops.forward", flops["forward"], msg("every key that a layer holds")),
        ("flops.forward_causal", flops["forward_causal"], msg("the pairs that are attended")),
        ("flops.train_step", flops["train_step"], msg("forward and backward")),
        ("memory.weights_bytes", memory["weights_bytes"], _stored_as(subject)),
        ("memory.kv_cache_bytes", memory["kv_cache_bytes"], cached),
        ("memory.state_bytes", memory["state_bytes"], msg("{dtype}, of fixed size", dtype=subject.dtype)),
    ]
    for name, value, description in costs:
        if value:
            rounded = Bytes(value) if name.startswith("memory") else human(value)
            yield Cost(figure=name, value=value, rounded=rounded, description=description)
