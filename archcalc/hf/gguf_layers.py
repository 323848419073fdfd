"""Sizes that a GGUF file may state for each layer, of any architecture: llama.cpp reads a number or a list of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from archcalc.errors import InputError, shown
from archcalc.hf.gguf_map import GgufMap, value_of
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


def layer_sizes(header: Header, gguf: GgufMap) -> dict[str, list[int]]:
    """Return the lists whose items differ, by key. Raises InputError for one that is not a size for each layer."""
    n_layers = value_of(header, "block_count")
    name = header.metadata["general.architecture"]
    found: dict[str, list[int]] = {}
    for key in LAYER_SIZES:
        value = value_of(header, key)
        if not isinstance(value, list) or key in gguf.own_keys or len(set(map(str, value))) < 2:
            continue
        if len(value) != n_layers:
            raise InputError(
                msg("found {found}", found=msg("{n} items", n=len(value))),
                where=f"{name}.{key}",
                allowed=msg("{n}, one for each layer", n=n_layers),
            )
        for index, size in enumerate(value):
            if type(size) is not int or size < 1:
                raise InputError(
                    msg("found {found}", found=shown(size)),
                    where=f"{name}.{key}[{index}]",
                    allowed=msg("a whole number, at least 1"),
                )
        found[key] = value
    return found


def with_layer_sizes(document: Document, sizes: Mapping[str, Sequence[int]]) -> Document:
    """Return the document of a model whose layers have these sizes."""
    if not sizes:
        return document
    (name,) = {"decoder", "encoder"} & document.keys()
    stack = document[name]
    layers = [json.loads(json.dumps(layer)) for layer in layers_of(stack)]
    for key, values in sizes.items():
        field = LAYER_SIZES[key]
        for layer, size in zip(layers, values, strict=True):
            for part in _parts(layer):
                if field in part:
                    if field == "n_heads" and part.get("d_head", 0) is None:
                        part["d_head"] = document["d_model"] // values[0]
                    part[field] = size
    texts = [json.dumps(layer | {"name": None}) for layer in layers]
    numbers = {text: number for number, text in enumerate(dict.fromkeys(texts), 1)}
    named = {text: json.loads(text) | {"name": f"layer_{number}"} for text, number in numbers.items()}
    runs = [run | {"pattern": [named[text] for text in run["pattern"]]} for run in runs_of(texts)]
    return document | {name: stack | {"runs": runs}}


def _parts(layer: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the attentions and feed-forwards of a layer's document."""
    named = [layer.get("attention"), layer.get("ffn")]
    arms = [arm for branch in layer.get("branches") or () for arm in branch["arms"]]
    yield from (part for part in (*named, *(arm["part"] for arm in arms)) if part)
