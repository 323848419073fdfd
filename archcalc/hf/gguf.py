"""GGUF files: the Hugging Face config that they were converted from, and the map of their tensors.

Source: llama.cpp gguf-py/gguf/constants.py (keys, tensor names) and convert_hf_to_gguf.py (what it changes).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from archcalc.errors import InputError, nearest, shown
from archcalc.formats.gguf_file import Header, read_numbers
from archcalc.hf.config import MAX_LAYERS
from archcalc.hf.gguf_layers import LAYER_SIZES, layer_sizes, with_layer_sizes
from archcalc.hf.gguf_map import GgufMap, short_float
from archcalc.hf.gguf_rope import FACTORS, scaling_of
from archcalc.hf.registry import find, find_gguf, index
from archcalc.hf.spellings import Spelling
from archcalc.hf.tensors import TensorMap
from archcalc.words import msg

if TYPE_CHECKING:
    from pathlib import Path

    from archcalc.spec.document import Document
    from archcalc.spec.model import Spec

TOKENS, HEAD = "token_embd.weight", "output.weight"
# Keys that follow from others; `_check_implied` reads them.
_IMPLIED_KEYS = ("attention.value_length", "rope.dimension_count", "vocab_size")
_SCALING = {
    "rope.scaling.type": "rope_type",
    "rope.scaling.factor": "factor",
    "rope.scaling.original_context_length": "original_max_position_embeddings",
    "rope.scaling.yarn_beta_fast": "beta_fast",
    "rope.scaling.yarn_beta_slow": "beta_slow",
}
# Prefixes of keys about the file, its quantization and its tokenizer.
_METADATA_PREFIXES = ("general.", "tokenizer.", "quantize.", "split.")
_UNUSED_KEYS = ("rope.scaling.finetuned",)


def document_of(header: Header) -> Document:
    """Return the document of the model in a GGUF file, with how the file stores it. Raises as `config_of` does."""
    from archcalc.hf import from_config
    from archcalc.hf.storage.gguf import storage_of

    config = config_of(header)
    try:
        document = from_config(config)
    except InputError as error:
        where = _key_of(header, str(error.where))
        raise error.at(where, error.file) from None
    name, model_type, gguf = _architecture(header)
    document = {key: value for key, value in document.items() if key not in gguf.missing}
    document = with_layer_sizes(document, layer_sizes(header, gguf), name)
    return document | {"about": document.get("about", {}) | {"storage": storage_of(header, model_type)}}


def config_of(header: Header) -> dict[str, Any]:
    """Return the Hugging Face config that a GGUF file was made from, as far as the file describes the architecture.

    Raises InputError for an unknown architecture, and for an unknown key of a known one.
    """
    name, model_type, gguf = _architecture(header)
    config = {"model_type": model_type} | _config_keys(header, name, gguf)
    if TOKENS not in header.tensors:
        raise InputError(msg("is missing"), where=TOKENS, allowed=msg("a table of the vocabulary"))
    config["vocab_size"] = header.tensors[TOKENS].shape[0]
    config["tie_word_embeddings"] = HEAD not in header.tensors
    config |= gguf.fixed
    for key_name in ("block_count", "embedding_length", "attention.head_count"):
        if key_name != "attention.head_count" and isinstance(header.metadata.get(f"{name}.{key_name}"), list):
            _check_size(header.metadata[f"{name}.{key_name}"], f"{name}.{key_name}")
        if key_name in gguf.keys:
            _check_size(config.get(gguf.keys[key_name]), f"{name}.{key_name}")
    if kv_heads := gguf.keys.get("attention.head_count_kv"):
        config.setdefault(kv_heads, config[gguf.keys["attention.head_count"]])
    config |= gguf.config_keys(header, config)
    if FACTORS in header.tensors and FACTORS not in gguf.own_keys:
        if not gguf.has_rope_factors:
            raise InputError(msg("is a tensor that this architecture does not have"), where=FACTORS)
        config["rope_scaling"] = _scaling(header, name, config)
    _check_implied(header, name, config, gguf)
    family = find(config["model_type"])
    return ({"architectures": [family.classes[0]]} if family else {}) | config


def read_header(path: Path) -> Header:
    """Return the header of a file, with its whole set's tensors and the weights that its metadata lists."""
    from archcalc.formats.gguf_split import read_whole_header

    return with_listed(read_whole_header(path))


def with_listed(header: Header) -> Header:
    """Return a header whose tensors include the weights that metadata lists by layer: Apertus's activation."""
    name = header.metadata.get("general.architecture")
    family = find_gguf(name) if isinstance(name, str) else None
    listed = family.gguf.listed if family and family.gguf else {}
    found = {key: whole for key, whole in header.float_lists.items() if key in listed}
    tensors = {}
    for key, whole in found.items():
        for layer in range(min(whole.shape[0], MAX_LAYERS + 1)):
            stored = listed[key].replace("{i}", str(layer))
            tensors[stored] = replace(whole, name=stored, shape=(1,), start=whole.start + 4 * layer, n_bytes=4)
    return replace(header, tensors=tensors | header.tensors)


def _key_of(header: Header, config_key: str) -> str:
    """Return the file's key that gave a key of the config; the config's own where none did."""
    name, _, gguf = _architecture(header)
    if origin := gguf.origins.get(config_key.partition("[")[0]):
        return f"{name}.{origin}"
    found = (key for key, theirs in gguf.keys.items() if theirs == config_key and f"{name}.{key}" in header.metadata)
    return next((f"{name}.{key}" for key in found), config_key)


def unread_architecture(header: Header) -> str:
    """Return the architecture that a file names if no family has it, else ''."""
    name = header.metadata.get("general.architecture")
    return name if isinstance(name, str) and find_gguf(name) is None else ""


def _check_size(value: Any, where: str) -> None:
    """Raise InputError unless the value is a size: the family would divide by it, or use a default instead."""
    if value is None:
        raise InputError(msg("is missing"), where=where, allowed=msg("a number"))
    if type(value) is not int or value < 1:
        raise InputError(
            msg("found {found}", found=shown(value)), where=where, allowed=msg("a whole number, at least 1")
        )


def _config_keys(header: Header, name: str, gguf: GgufMap) -> dict[str, Any]:
    """Return the config's keys that a file's keys give."""
    config: dict[str, Any] = {}
    scaling: dict[str, Any] = {}
    for key, value in header.metadata.items():
        key_name = key.removeprefix(f"{name}.")
        if key_name in gguf.keys:
            config[gguf.keys[key_name]] = short_float(_of_all_layers(value, key))
        elif key_name in _SCALING and key_name not in gguf.own_keys:
            scaling[_SCALING[key_name]] = short_float(value)
        elif key_name in gguf.values:
            _check_value(value, gguf.values[key_name], key)
        elif not key.startswith(_METADATA_PREFIXES) and key_name not in (
            *_IMPLIED_KEYS,
            *_UNUSED_KEYS,
            *gguf.own_keys,
            *gguf.listed,
        ):
            allowed = ", ".join((*gguf.keys, *gguf.own_keys, *gguf.listed, *_SCALING, *_IMPLIED_KEYS))
            raise InputError(
                msg("is a key that is not understood{hint}", hint=nearest(key_name, gguf.keys)),
                where=key,
                allowed=allowed,
            )
    if "factor" in scaling:  # llama.cpp src/llama-model.cpp: a factor without a type is linear.
        scaling.setdefault("rope_type", "linear")
    return config | ({"rope_scaling": scaling} if scaling.get("rope_type", "none") != "none" else {})


def _check_value(value: Any, allowed: tuple[Any, ...], key: str) -> None:
    """Raise InputError unless a key has one of the values that change nothing."""
    if short_float(value) not in allowed:
        raise InputError(
            msg("found {found}", found=shown(value)), where=key, allowed=", ".join(str(shown(each)) for each in allowed)
        )


def _of_all_layers(value: Any, key: str) -> Any:
    """Return a value, or the one that a list has for every layer; of sizes that may differ, the first above 0.

    Raises InputError for another list of several.
    """
    if not isinstance(value, list) or not value:
        return value
    if key.partition(".")[2] not in LAYER_SIZES and any(each != value[0] for each in value):
        found = ", ".join(list(dict.fromkeys(str(shown(each)) for each in value))[:4])
        raise InputError(
            msg("differs from layer to layer: {found}", found=found),
            where=key,
            allowed=msg("the same for all layers of this architecture"),
        )
    return next(filter(None, value), value[0])


def tensors_of(header: Header, spec: Spec) -> tuple[TensorMap, Spelling]:
    """Return the map of the tensors of a file with this spec, and their spelling."""
    gguf = _architecture(header)[2]
    return gguf.map_of(spec), gguf.spelling_of(spec)


def _architecture(header: Header) -> tuple[str, str, GgufMap]:
    """Return the architecture that a file names, its model type, and its map."""
    name = header.metadata.get("general.architecture")
    family = find_gguf(name) if isinstance(name, str) else None
    if family is None or family.gguf is None or not isinstance(name, str):
        architectures = index()["gguf"]
        hint = nearest(name, architectures) if isinstance(name, str) else ""
        raise InputError(
            msg("found {found}{hint}", found=shown(name), hint=hint),
            where="general.architecture",
            allowed=", ".join(architectures),
        )
    return name, family.model_type, family.gguf


def _scaling(header: Header, name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `rope_scaling` with the factors that are stored in the file (Llama 3.1)."""
    for key in ("rope.scaling.type", "rope.scaling.factor"):
        if header.metadata.get(f"{name}.{key}", "none") != "none":
            raise InputError(
                msg("scales positions beside {factors}", factors=FACTORS),
                where=f"{name}.{key}",
                allowed=msg("one of the two"),
            )
    stored, d_head, theta = header.tensors[FACTORS], _d_head(config), config.get("rope_theta", 10_000.0)
    if not isinstance(d_head, int) or d_head < 2 or stored.shape != (d_head // 2,):
        allowed = f"a factor for each pair of a head's dimensions, which has {shown(d_head)}"
        raise InputError(msg("has shape {shape}", shape=list(stored.shape)), where=FACTORS, allowed=allowed)
    if not isinstance(theta, int | float) or not theta > 1:
        raise InputError(
            msg("found {found}", found=shown(theta)), where=f"{name}.rope.freq_base", allowed=msg("a number above 1")
        )
    return scaling_of([short_float(factor) for factor in read_numbers(stored)], theta)


def _d_head(config: Mapping[str, Any]) -> Any:
    """Return the width of a head, stated or computed; None if the config has other names for its sizes."""
    heads, width = (config.get(key) for key in ("num_attention_heads", "hidden_size"))
    return config.get("head_dim") or (width // heads if heads and width else None)


def _check_implied(header: Header, name: str, config: Mapping[str, Any], gguf: GgufMap) -> None:
    """Raise InputError if a key contradicts what follows from the others."""
    d_head = _d_head(config)
    expected = {"attention.value_length": d_head, "rope.dimension_count": d_head, "vocab_size": config["vocab_size"]}
    for key, value in expected.items():
        if key in gguf.own_keys:
            continue
        found = header.metadata.get(f"{name}.{key}", value)
        if value is not None and found != value:
            raise InputError(msg("found {found}", found=shown(found)), where=f"{name}.{key}", allowed=shown(value))
