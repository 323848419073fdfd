"""GGUF files as the configs of Hugging Face that they were converted from, and where their tensors stand.

Source: llama.cpp gguf-py/gguf/constants.py (keys, tensors' names) and convert_hf_to_gguf.py (what it changes).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from typing import Any

from archcalc.errors import InputError, nearest, shown
from archcalc.formats.gguf_file import Header, read_numbers
from archcalc.hf.gguf_map import GgufMap
from archcalc.hf.gguf_rope import FACTORS, scaling_of
from archcalc.hf.registry import find, find_gguf, index
from archcalc.hf.spellings import Spelling
from archcalc.hf.tensors import TensorMap
from archcalc.words import msg

TOKENS, HEAD = "token_embd.weight", "output.weight"
# Read by `_follows`, or said for others' use.
_FOLLOW = ("attention.value_length", "rope.dimension_count", "vocab_size")
_SCALING = {
    "rope.scaling.type": "rope_type",
    "rope.scaling.factor": "factor",
    "rope.scaling.original_context_length": "original_max_position_embeddings",
}
# What the file is, how it was made, and what its tokenizer needs.
_ASIDE = ("general.", "tokenizer.", "quantize.", "split.")
_SCALING_UNUSED = ("rope.scaling.finetuned",)


def config_of(header: Header) -> dict[str, Any]:
    """The Hugging Face config that a GGUF file was made from, as far as it says anything of the architecture.

    Raises InputError for an architecture that is not known, and for a key of it that is not.
    """
    name, model_type, how = _named(header)
    config = {"model_type": model_type} | _translated(header, name, how)
    if TOKENS not in header.tensors:
        raise InputError(msg("is missing"), where=TOKENS, allowed=msg("a table of the vocabulary"))
    config["vocab_size"] = header.tensors[TOKENS].shape[0]
    config["tie_word_embeddings"] = HEAD not in header.tensors
    config |= how.fixed
    for short in ("block_count", "embedding_length", "attention.head_count"):
        _positive(config.get(how.keys[short]), f"{name}.{short}")
    if kv_heads := how.keys.get("attention.head_count_kv"):
        config.setdefault(kv_heads, config[how.keys["attention.head_count"]])
    config |= how.more(header, config)
    if FACTORS in header.tensors:
        if not how.factors:
            raise InputError(msg("is a tensor that this architecture does not have"), where=FACTORS)
        config["rope_scaling"] = _scaling(header, name, config)
    _follows(header, name, config)
    family = find(config["model_type"])
    return config | ({"architectures": [family.classes[0]]} if family else {})


def _positive(value: Any, where: str) -> None:
    """Raise InputError for what cannot be a size: the family would divide by it, or take a default of its own."""
    if value is None:
        raise InputError(msg("is missing"), where=where, allowed=msg("a number"))
    if type(value) is not int or value < 1:
        raise InputError(
            msg("found {value}", value=shown(value)), where=where, allowed=msg("a whole number, at least 1")
        )


def _translated(header: Header, name: str, how: GgufMap) -> dict[str, Any]:
    """The config's keys that a file's keys say."""
    config: dict[str, Any] = {}
    scaling: dict[str, Any] = {}
    for key, value in header.metadata.items():
        short = key.removeprefix(f"{name}.")
        if short in how.keys:
            config[how.keys[short]] = _plain(value)
        elif short in _SCALING:
            scaling[_SCALING[short]] = _plain(value)
        elif not key.startswith(_ASIDE) and short not in (*_FOLLOW, *_SCALING_UNUSED):
            allowed = ", ".join((*how.keys, *_SCALING, *_FOLLOW))
            raise InputError(
                msg("is a key that is not understood{hint}", hint=nearest(short, how.keys)), where=key, allowed=allowed
            )
    if "factor" in scaling:  # llama.cpp src/llama-model.cpp: a factor of no type is a linear one
        scaling.setdefault("rope_type", "linear")
    return config | ({"rope_scaling": scaling} if scaling.get("rope_type", "none") != "none" else {})


def tensors_of(header: Header) -> tuple[TensorMap, Spelling]:
    """Where a file's tensors stand, and what may stand beside them."""
    unused = {re.escape(FACTORS): "follows from the scaling of positions that was told from it"}
    return _named(header)[2].tensors, Spelling(unused=unused)


def _named(header: Header) -> tuple[str, str, GgufMap]:
    """The architecture that a file names, the model type it is read as, and how."""
    name = header.metadata.get("general.architecture")
    family = find_gguf(name) if isinstance(name, str) else None
    if family is None or family.gguf is None or not isinstance(name, str):
        known = index()["gguf"]
        hint = nearest(name, known) if isinstance(name, str) else ""
        raise InputError(
            msg("found {name}{hint}", name=shown(name), hint=hint),
            where="general.architecture",
            allowed=", ".join(known),
        )
    if header.metadata.get("split.count", 0) not in (0, 1):
        raise InputError(msg("is one of several parts"), where="split.count", allowed=msg("a whole model in one file"))
    return name, family.model_type, family.gguf


def _scaling(header: Header, name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """The `rope_scaling` whose factors stand in the file, and no parameter of it (Llama 3.1)."""
    for key in ("rope.scaling.type", "rope.scaling.factor"):
        if header.metadata.get(f"{name}.{key}", "none") != "none":
            raise InputError(
                msg("scales positions beside {FACTORS}", FACTORS=FACTORS),
                where=f"{name}.{key}",
                allowed=msg("one of the two"),
            )
    stored, d_head, theta = header.tensors[FACTORS], _d_head(config), config.get("rope_theta", 10_000.0)
    if not isinstance(d_head, int) or d_head < 2 or stored.shape != (d_head // 2,):
        allowed = f"a factor for each pair of a head's dimensions, which has {shown(d_head)}"
        raise InputError(msg("has shape {shape}", shape=list(stored.shape)), where=FACTORS, allowed=allowed)
    if not isinstance(theta, int | float) or not theta > 1:
        raise InputError(
            msg("found {theta}", theta=shown(theta)), where=f"{name}.rope.freq_base", allowed=msg("a number above 1")
        )
    return scaling_of([_plain(factor) for factor in read_numbers(stored)], theta)


def _d_head(config: Mapping[str, Any]) -> Any:
    """The width of a head as it is said, or as it follows; None where the config names its sizes otherwise."""
    heads, width = (config.get(key) for key in ("num_attention_heads", "hidden_size"))
    return config.get("head_dim") or (width // heads if heads and width else None)


def _follows(header: Header, name: str, config: Mapping[str, Any]) -> None:
    """Raise InputError where a key contradicts what follows from the others."""
    d_head = _d_head(config)
    expected = {"attention.value_length": d_head, "rope.dimension_count": d_head, "vocab_size": config["vocab_size"]}
    for key, value in expected.items():
        found = header.metadata.get(f"{name}.{key}", value)
        if value is not None and found != value:
            raise InputError(msg("found {found}", found=shown(found)), where=f"{name}.{key}", allowed=shown(value))


def _plain(value: Any) -> Any:
    """A number as it was before it was made a 32-bit one: 1e-05 rather than 9.999999747378752e-06."""
    if isinstance(value, float):
        short = float(f"{value:.7g}")
        return short if struct.pack("<f", short) == struct.pack("<f", value) else value
    return value
