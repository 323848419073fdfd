"""Memory of inference as a page."""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

from archcalc.analysis.cache_lines import CacheLine, EngineCache
from archcalc.analysis.inference_memory import ComponentMemory, InferenceMemory, LayerCache, StateMemory, TensorMemory
from archcalc.formats.cache_types import cache_type
from archcalc.render.page import Block, Page, Table, Text
from archcalc.render.tables import table
from archcalc.words import Bytes, Message, joined, msg

View = Literal["components", "tensors", "layers"]
VIEWS: tuple[View, ...] = get_args(View)


class MemoryOptions(msgspec.Struct, frozen=True):
    """What the tables show: weights by component or by tensor, or the cache by layer."""

    view: View = "components"


def view(result: InferenceMemory, options: MemoryOptions) -> Page:
    """Return the page of the weights and of what is cached."""
    if options.view == "layers":
        blocks: list[Block] = [table(_cache_title(result), result.cache_layers, LayerCache, total=msg("total"))]
    else:
        blocks = [_components(result) if options.view == "components" else _tensors(result)]
        if result.caches:
            without = {"format"}
            blocks.append(table(_cache_title(result), result.caches, TensorMemory, total=msg("total"), without=without))
    if result.states:
        blocks.append(table(msg("States of fixed size"), result.states, StateMemory, total=msg("total")))
    if len(result.cache_lines) > 1 or result.states:
        title = msg("Cache of one sequence: fixed bytes, and bytes per token")
        blocks.append(table(title, result.cache_lines, CacheLine, total=msg("total")))
    if result.engines:
        blocks.append(table(msg("As inference engines store it"), result.engines, EngineCache))
    blocks.append(Text("", _per_sequence(result) if result.caches or result.states else [msg("nothing is cached")]))
    return Page(msg("{label}: memory", label=result.label), _subtitle(result), blocks, answer=_answer(result))


def _answer(result: InferenceMemory) -> Message:
    weights, kept = result.weights_bytes, result.kv_cache_bytes + result.state_bytes
    if not kept:
        return msg("{size} of weights", size=Bytes(weights))
    sizes = {"weights": Bytes(weights), "kept": Bytes(kept), "total": Bytes(weights + kept)}
    if not result.state_bytes:
        return msg("{total}: {weights} of weights and {kept} of KV cache", **sizes)
    if not result.kv_cache_bytes:
        return msg("{total}: {weights} of weights and {kept} of states", **sizes)
    return msg("{total}: {weights} of weights and {kept} of KV cache and states", **sizes)


def _subtitle(result: InferenceMemory) -> Message:
    work = result.workload
    sizes = msg("batch {n:,}", n=work.batch), msg("{n:,} tokens", n=work.past + work.seq)
    return joined(" · ", (result.name, *sizes))


def _components(result: InferenceMemory) -> Table:
    title = msg("Weights: {dtype}", dtype=result.dtype)
    return table(title, result.components, ComponentMemory, total=msg("total"))


def _tensors(result: InferenceMemory) -> Table:
    """Return the table of every stored tensor; the total leaves out the buffers."""
    counted = [row for row in result.weights if row.what == "weight"]
    title, without = msg("Weights: {dtype}", dtype=result.dtype), {"bytes_formula"}
    return table(title, result.weights, TensorMemory, total=msg("total"), counted=counted, without=without)


def _cache_title(result: InferenceMemory) -> Message:
    """Return the format's name, and what it is where the name does not say."""
    kind = cache_type(result.cache_dtype)
    if kind.scale:
        return msg("Cache in {dtype}: {title}", dtype=result.cache_dtype, title=kind.title)
    return msg("Cache in {dtype}", dtype=result.cache_dtype)


def _per_sequence(result: InferenceMemory) -> list[Message]:
    work = result.workload
    tokens, size = work.past + work.seq, Bytes((result.kv_cache_bytes + result.state_bytes) // work.batch)
    return [
        msg("a sequence of {tokens:,} tokens keeps {size}", tokens=tokens, size=size),
        msg("one more token keeps {size:,} bytes", size=result.next_token_bytes),
    ]
