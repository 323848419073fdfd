"""Memory of inference: weights as they are stored, and what is cached after a workload. All figures are exact."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from msgspec import structs

from archcalc.analysis.cache_lines import CacheLine, EngineCache, cache_lines, engine_caches
from archcalc.analysis.caches import CacheBytes, by_layer, caches, next_token
from archcalc.analysis.closed_form import Rewriter
from archcalc.analysis.memory import AUTO, DTYPES, Dtype, state_bytes
from archcalc.analysis.row_names import path_pattern
from archcalc.analysis.stored_weights import cache_dtype_of, storage_name, weight_lines
from archcalc.analysis.value_names import COMPONENT_NAMES
from archcalc.analysis.weight_bytes import WeightBytes, by_component
from archcalc.formats.element_types import element_bytes
from archcalc.ledger.algebra import product
from archcalc.ledger.leaves import Component
from archcalc.ledger.rows import CacheRow, Ledger, WeightRow
from archcalc.results import Result, Row, Sureness, count, data, share, text
from archcalc.spec import Spec
from archcalc.spec.workload import Workload
from archcalc.words import msg


class ComponentMemory(Row, frozen=True, kw_only=True):
    """The weights of one component in one format; buffers, which no total has, are left out."""

    component: Annotated[Component, text(msg("component"), names=COMPONENT_NAMES)]
    format: Annotated[str, text(msg("stored as"))]
    payload_bytes: Annotated[int, count(msg("payload bytes"))]
    overhead_bytes: Annotated[int, count(msg("scales and zeros"))]
    bytes: Annotated[int, count(msg("total bytes"), rounded="bytes")]
    share: Annotated[float, share(msg("share"))]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))] = "exact"


class TensorMemory(Row, frozen=True, kw_only=True):
    """A weight, buffer or cache over all its layers in one format; `formula` is of the elements."""

    path: Annotated[str, text(msg("tensor"))]
    group: Annotated[str, text(msg("kind of layer"), shown="varied")]
    what: Annotated[Literal["weight", "buffer", "cache"], data(msg("weight, buffer or cache"))]
    component: Annotated[Component, data(msg("component"))]
    format: Annotated[str, text(msg("stored as"))]
    layers: Annotated[int, count(msg("layers"), is_summed=False)]
    elements: Annotated[int, data(msg("elements"))]
    payload_bytes: Annotated[int, count(msg("payload bytes"))]
    overhead_bytes: Annotated[int, count(msg("scales and zeros"))]
    bytes: Annotated[int, count(msg("total bytes"), rounded="bytes")]
    share: Annotated[float | None, share(msg("share"))]
    next_token_bytes: Annotated[int, data(msg("bytes that one more token of a sequence adds"))]
    formula: Annotated[str, data(msg("elements by formula"))]
    bytes_formula: Annotated[str | None, text(msg("bytes by formula"))]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))] = "exact"


class StateMemory(Row, frozen=True, kw_only=True):
    """A state of fixed size over all its layers; `formula` is of its bytes."""

    path: Annotated[str, text(msg("tensor"))]
    group: Annotated[str, text(msg("kind of layer"), shown="varied")]
    layers: Annotated[int, count(msg("layers"), is_summed=False)]
    bytes: Annotated[int, count(msg("total bytes"), rounded="bytes")]
    formula: Annotated[str, text(msg("bytes by formula"))]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))] = "exact"


class LayerCache(Row, frozen=True, kw_only=True):
    """What one layer caches."""

    layer: Annotated[int, text(msg("layer"))]
    payload_bytes: Annotated[int, count(msg("payload bytes"))]
    overhead_bytes: Annotated[int, count(msg("scales and zeros"))]
    bytes: Annotated[int, count(msg("total bytes"), rounded="bytes")]
    next_token_bytes: Annotated[int, count(msg("one more token"))]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))] = "exact"


class InferenceMemory(Result, frozen=True, kw_only=True):
    """Bytes of the weights in `dtype`, and of what is cached in `cache_dtype` after the workload's tokens."""

    name: Annotated[str, data(msg("name of the model"))]
    label: Annotated[str, data(msg("title of the model"))]
    workload: Annotated[Workload, data(msg("workload"))]
    dtype: Annotated[str, data(msg("format of the weights"))]
    stated_by: Annotated[tuple[str, ...], data(msg("what states the format of the weights"))]
    cache_dtype: Annotated[str, data(msg("format of the cache"))]
    weights_bytes: Annotated[int, data(msg("weights bytes"))]
    kv_cache_bytes: Annotated[int, data(msg("KV cache bytes"))]
    kv_cache_overhead_bytes: Annotated[int, data(msg("scales and zeros of the cache"))]
    state_bytes: Annotated[int, data(msg("bytes of states of a fixed size"))]
    next_token_bytes: Annotated[int, data(msg("bytes that one more token of a sequence adds"))]
    components: Annotated[tuple[ComponentMemory, ...], data(msg("weights by component"))]
    weights: Annotated[tuple[TensorMemory, ...], data(msg("weights and buffers"))]
    caches: Annotated[tuple[TensorMemory, ...], data(msg("caches"))]
    states: Annotated[tuple[StateMemory, ...], data(msg("states of a fixed size"))]
    cache_layers: Annotated[tuple[LayerCache, ...], data(msg("caches by layer"))]
    cache_lines: Annotated[tuple[CacheLine, ...], data(msg("what a sequence keeps, by kind of layer"))]
    engines: Annotated[tuple[EngineCache, ...], data(msg("caches as engines keep them, where they differ"))]


def inference_memory(spec: Spec, ledger: Ledger, work: Workload, dtype: str, cache_dtype: str) -> InferenceMemory:
    """Return the memory that inference takes; the format 'auto' is what the source states.

    Raises InputError for an unknown format, and for a format that does not fit a tensor's shape.
    """
    lines, stated = weight_lines(spec, ledger, dtype), cache_dtype_of(spec)
    is_stated = dtype == AUTO
    dtype = storage_name(lines) if is_stated else dtype
    cache_dtype = stated if cache_dtype == AUTO else cache_dtype
    states = stated if is_stated else state_dtype(dtype)
    stored, cached = tuple(_weights(ledger, lines)), tuple(_caches(ledger, work, cache_dtype))
    return InferenceMemory(
        name=spec.name,
        label=spec.label,
        workload=work,
        dtype=dtype,
        stated_by=spec.about.storage.stated_by if is_stated else (),
        cache_dtype=cache_dtype,
        weights_bytes=sum(row.bytes for row in stored if row.what == "weight"),
        kv_cache_bytes=sum(row.bytes for row in cached),
        kv_cache_overhead_bytes=sum(row.overhead_bytes for row in cached),
        state_bytes=state_bytes(ledger, work, states),
        next_token_bytes=sum(row.next_token_bytes for row in cached),
        components=component_memory(ledger, lines),
        weights=stored,
        caches=cached,
        states=tuple(_states(ledger, work, states)),
        cache_layers=tuple(_layers(ledger, work, cache_dtype)),
        cache_lines=cache_lines(ledger, work, cache_dtype, states),
        engines=tuple(engine_caches(ledger, work, cache_dtype, states)),
    )


def state_dtype(dtype: str) -> Dtype:
    """Return the dtype of states beside weights in `dtype`: the same, or bf16 if the weights are quantized."""
    return next((name for name in DTYPES if name == dtype), "bf16")


def _states(ledger: Ledger, work: Workload, dtype: Dtype) -> Iterator[StateMemory]:
    sizes = ledger.at(work)
    for row in ledger.states:
        formula = row.bytes_formula(element_bytes(dtype))
        yield StateMemory(
            path=path_pattern(row.path),
            group=row.group,
            layers=max(1, len(row.layer_indices)),
            bytes=formula.at(sizes),
            formula=formula.factored(),
        )


def component_memory(ledger: Ledger, stored: Sequence[WeightBytes]) -> tuple[ComponentMemory, ...]:
    """Return a row for each component and format of a model's weights."""
    lines = by_component(ledger, stored)
    total = sum(payload + overhead for *_, payload, overhead in lines)
    return tuple(
        ComponentMemory(
            component=component,
            format=stored_as,
            payload_bytes=payload,
            overhead_bytes=overhead,
            bytes=payload + overhead,
            share=(payload + overhead) / total,
        )
        for component, stored_as, payload, overhead in lines
    )


def _weights(ledger: Ledger, lines: list[WeightBytes]) -> Iterator[TensorMemory]:
    rewriter = Rewriter(ledger)
    total = sum(line.total_bytes for line in lines if line.kind != "buffer")
    for row, line in _by_row(ledger, lines):
        formula = row.formula if line.layers == row.layers else product(row.weight.axes) * line.layers
        yield TensorMemory(
            path=path_pattern(line.path),
            group=row.group,
            what="buffer" if line.kind == "buffer" else "weight",
            component=row.component,
            format=line.format,
            layers=line.layers,
            elements=row.count * line.layers,
            payload_bytes=line.payload_bytes,
            overhead_bytes=line.overhead_bytes,
            bytes=line.total_bytes,
            share=None if line.kind == "buffer" else line.total_bytes / total,
            next_token_bytes=0,
            formula=rewriter.equation(formula),
            bytes_formula=None,
        )


def _by_row(ledger: Ledger, lines: list[WeightBytes]) -> Iterator[tuple[WeightRow, WeightBytes]]:
    """Yield each line with its row: lines follow the order of the rows, and a row's lines make up its layers."""
    remaining = iter(lines)
    for row in ledger.rows:
        layers = row.layers
        while layers:
            line = next(remaining)
            layers -= line.layers
            yield row, line


def _caches(ledger: Ledger, work: Workload, dtype: str) -> Iterator[TensorMemory]:
    sizes = ledger.at(work)
    rewriter, cached = Rewriter(structs.replace(ledger, sizes=sizes)), caches(ledger, work, dtype)
    total = sum(cache.total_bytes for cache in cached)
    for cache, added in zip(cached, next_token(ledger, work, dtype), strict=True):
        yield _cache(ledger, cache, added // work.batch, total, rewriter, dtype)


def _cache(
    ledger: Ledger, cache: CacheBytes, next_token_bytes: int, total: int, rewriter: Rewriter, dtype: str
) -> TensorMemory:
    return TensorMemory(
        path=path_pattern(cache.row.path),
        group=cache.row.group,
        what="cache",
        component=_component(ledger, cache.row),
        format=dtype,
        layers=max(1, len(cache.row.layer_indices)),
        elements=int(cache.row.formula.at(rewriter.ledger.sizes)),
        payload_bytes=cache.payload_bytes,
        overhead_bytes=cache.overhead_bytes,
        bytes=cache.total_bytes,
        share=cache.total_bytes / total,
        next_token_bytes=next_token_bytes,
        formula=rewriter.equation(cache.row.formula),
        bytes_formula=str(cache.formula),
    )


def _component(ledger: Ledger, cache: CacheRow) -> Component:
    """Return the component of the module that caches it, as that of the module's own products."""
    module, layers = cache.path.rpartition(".")[0], set(cache.layer_indices)
    own = (row for row in ledger.matmuls if row.path.rpartition(".")[0] == module and layers & set(row.layer_indices))
    return next(row.component for row in own)


def _layers(ledger: Ledger, work: Workload, dtype: str) -> Iterator[LayerCache]:
    for layer in by_layer(ledger, work, dtype):
        yield LayerCache(
            layer=layer.turn,
            payload_bytes=layer.payload_bytes,
            overhead_bytes=layer.overhead_bytes,
            bytes=layer.total_bytes,
            next_token_bytes=layer.next_token_bytes // work.batch,
        )
