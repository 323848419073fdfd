"""Sizes that a GGUF file may state for each layer, of any architecture: llama.cpp reads a number or a list of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from archcalc.errors import InputError, shown
from archcalc.hf.gguf_map import KV_HEADS, GgufMap, value_of
from archcalc.hf.stack import layers_of, runs_of
from archcalc.words import msg

if TYPE_CHECKING:
    from archcalc.formats.gguf_file import Header
    from archcalc.spec.document import Document

# A key, and the field of a part that it sizes.
LAYER_SIZES = {
    "attention.head_count": "n_heads",
    "attention.head_count_kv": "n_kv_heads",
    "feed_forward_length": "d_ff",
}


# The part that a layer lacks if its size is 0 (DeciLM).
REMOVED = {"n_heads": "attention", "d_ff": "ffn"}


def layer_sizes(header: Header, gguf: GgufMap) -> dict[str, list[int]]:
    """Return the lists whose items differ, by key. Raises InputError for one that is not a size for each layer."""
    found = {key: value_of(header, key) for key in LAYER_SIZES if key not in gguf.own_keys}
    sizes = {key: value for key, value in found.items() if isinstance(value, list) and len(set(map(str, value))) > 1}
    n_layers, heads = value_of(header, "block_count"), found.get("attention.head_count")
    for key, value in sizes.items():
        where = f"{header.metadata['general.architecture']}.{key}"
        if len(value) != n_layers:
            raise InputError(
                msg("found {found}", found=msg("{n} items", n=len(value))),
                where=where,
                allowed=msg("{n}, one for each layer", n=n_layers),
            )
        for index, size in enumerate(value):
            n_heads = heads[index] if isinstance(heads, list) and len(heads) == n_layers else heads
            is_size = type(size) is int and size >= 0
            allowed = msg("a whole number")
            if key == KV_HEADS:
                divides = is_size and type(n_heads) is int and (not n_heads % size if size else n_heads == 0)
                is_size, allowed = divides, msg("a divisor of {n}, the number of heads", n=shown(n_heads))
            if not is_size:
                raise InputError(msg("found {found}", found=shown(size)), where=f"{where}[{index}]", allowed=allowed)
    return sizes


def with_layer_sizes(document: Document, sizes: Mapping[str, Sequence[int]], architecture: str) -> Document:
    """Return the document of a model whose layers have these sizes. Raises InputError for one of two stacks."""
    if not sizes:
        return document
    name, *others = [each for each in ("decoder", "encoder") if document.get(each)]
    if others:
        key, found = next(iter(sizes.items()))
        raise InputError(
            msg("differs from layer to layer: {found}", found=", ".join(map(str, list(dict.fromkeys(found))[:4]))),
            where=f"{architecture}.{key}",
            allowed=msg("the same for all layers of this architecture"),
        )
    stack = document[name]
    layers = [json.loads(json.dumps(layer)) for layer in layers_of(stack)]
    for key, values in sizes.items():
        d_head = document["d_model"] // (next(filter(None, values), 1))
        for layer, size in zip(layers, values, strict=True):
            _resize(layer, LAYER_SIZES[key], size, d_head)
    texts = [json.dumps(layer | {"name": None}) for layer in layers]
    numbers = {text: number for number, text in enumerate(dict.fromkeys(texts), 1)}
    named = {text: json.loads(text) | {"name": f"layer_{number}"} for text, number in numbers.items()}
    runs = [run | {"pattern": [named[text] for text in run["pattern"]]} for run in runs_of(texts)]
    return document | {name: stack | {"runs": runs}}


def _resize(layer: dict[str, Any], field: str, size: int, d_head: int) -> None:
    """Give a layer's parts that have a field this size; 0 removes the part."""
    if not size:
        layer |= {part: None for part in (REMOVED.get(field),) if part}
    for part in _parts(layer):
        if field in part:
            part[field] = size
            if field == "n_heads" and part.get("d_head", 0) is None:
                part["d_head"] = d_head


def _parts(layer: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the attentions and feed-forwards of a layer's document."""
    arms = [arm["part"] for branch in layer.get("branches") or () for arm in branch["arms"]]
    yield from filter(None, (layer.get("attention"), layer.get("ffn"), *arms))
