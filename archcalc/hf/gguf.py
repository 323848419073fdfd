"""GGUF files as the configs of Hugging Face that they were converted from, and where their tensors stand.

Source: llama.cpp gguf-py/gguf/constants.py (keys, tensors' names) and convert_hf_to_gguf.py (what it changes).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from archcalc.errors import InputError, nearest, shown
from archcalc.formats.gguf_file import Header, read_numbers
from archcalc.hf.gguf_rope import FACTORS, scaling_of
from archcalc.hf.spellings import Spelling
from archcalc.hf.tensors import TensorMap, joined, renamed, same, table
from archcalc.hf.vocabulary import QKV

TOKENS, HEAD = "token_embd.weight", "output.weight"


@dataclass(frozen=True)
class Architecture:
    """A `general.architecture`: its model type, its keys (GGUF's → the config's), its tensors, what is always so.

    `more`: what of the config follows from the header otherwise. `factors`: whether what divides each pair's frequency
    may stand in the file.
    """

    model_type: str
    keys: Mapping[str, str]
    tensors: TensorMap
    fixed: Mapping[str, Any] = field(default_factory=dict)
    more: Callable[[Header, dict[str, Any]], dict[str, Any]] = lambda header, config: {}
    factors: bool = False


_OUTSIDE = (*renamed({"embed.tokens": "token_embd", "final_norm": "output_norm"}), *same("head", "output"))
_BLOCK = ("layers.{i}.", "blk.{i}.")
_QK = {"attn.q": "attn_q", "attn.k": "attn_k"}
_ATTENTION = {"attn.v": "attn_v", "attn.out": "attn_output", "attn_norm": "attn_norm"}
_FFN = {"ffn.gate": "ffn_gate", "ffn.up": "ffn_up", "ffn.down": "ffn_down", "ffn_norm": "ffn_norm"}
_EXPERTS = {
    "ffn.experts.gate": "ffn_gate_exps",
    "ffn.experts.up": "ffn_up_exps",
    "ffn.experts.down": "ffn_down_exps",
    "ffn.router": "ffn_gate_inp",
}
_QK_NORMS = {"attn.q_norm": "attn_q_norm", "attn.k_norm": "attn_k_norm"}


_TURNED = table(_OUTSIDE, renamed(_QK, *_BLOCK, order="turned"), renamed(_ATTENTION | _FFN | _EXPERTS, *_BLOCK))
_STRAIGHT = table(_OUTSIDE, renamed(_QK | _QK_NORMS | _ATTENTION | _FFN | _EXPERTS, *_BLOCK))
_GEMMA = table(
    renamed({"embed.tokens": "token_embd"}),
    same("head", "output"),
    same("final_norm", "output_norm", plus=1.0),
    renamed(_QK | {"attn.v": "attn_v", "attn.out": "attn_output"}, *_BLOCK),
    renamed({"ffn.gate": "ffn_gate", "ffn.up": "ffn_up", "ffn.down": "ffn_down"}, *_BLOCK),
    renamed(
        {
            "attn_norm": "attn_norm",
            "attn_out_norm": "post_attention_norm",
            "ffn_norm": "ffn_norm",
            "ffn_out_norm": "post_ffw_norm",
        },
        *_BLOCK,
        plus=1.0,
    ),
)
_GPT2 = table(
    _OUTSIDE,
    renamed({"positions": "position_embd"}),
    joined(QKV, "blk.{i}.attn_qkv"),
    renamed({"attn.out": "attn_output", "attn_norm": "attn_norm"}, *_BLOCK),
    renamed({"ffn.up": "ffn_up", "ffn.down": "ffn_down", "ffn_norm": "ffn_norm"}, *_BLOCK),
)

_SIZES = {
    "block_count": "num_hidden_layers",
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "rope.freq_base": "rope_theta",
}
_HEAD_DIM = {"attention.key_length": "head_dim"}
_EXPERT_KEYS = {
    "expert_count": "num_local_experts",
    "expert_used_count": "num_experts_per_tok",
    "expert_feed_forward_length": "moe_intermediate_size",
}


def _llama(header: Header, config: dict[str, Any]) -> dict[str, Any]:
    """LLaMA, or a mixture of its kind; biases where they are stored."""
    if config.get("num_local_experts"):
        config.pop("head_dim", None)
        return {"model_type": "mixtral", "sliding_window": None}
    config.pop("num_local_experts", None)
    config.pop("num_experts_per_tok", None)
    biases = {"attention_bias": "blk.0.attn_q.bias", "mlp_bias": "blk.0.ffn_up.bias"}
    return {key: name in header.tensors for key, name in biases.items()}


def _gemma2(header: Header, config: dict[str, Any]) -> dict[str, Any]:
    """The 27B alone scales its scores by the model's width (llama.cpp src/models/gemma2.cpp: 46 layers)."""
    wide = config.get("num_hidden_layers") == 46
    scalar = config["hidden_size"] // config["num_attention_heads"] if wide else config.get("head_dim", 256)
    return {"query_pre_attn_scalar": scalar}


ARCHITECTURES: dict[str, Architecture] = {
    "llama": Architecture("llama", _SIZES | _HEAD_DIM | _EXPERT_KEYS, _TURNED, more=_llama, factors=True),
    "qwen2": Architecture("qwen2", _SIZES, _STRAIGHT),
    "qwen3": Architecture("qwen3", _SIZES | _HEAD_DIM, _STRAIGHT),
    # llama.cpp src/models/qwen3moe.cpp: the weights of the chosen experts always sum to 1.
    "qwen3moe": Architecture("qwen3_moe", _SIZES | _HEAD_DIM | _EXPERT_KEYS, _STRAIGHT, fixed={"norm_topk_prob": True}),
    "gemma2": Architecture(
        "gemma2",
        _SIZES
        | _HEAD_DIM
        | {
            "attention.sliding_window": "sliding_window",
            "attn_logit_softcapping": "attn_logit_softcapping",
            "final_logit_softcapping": "final_logit_softcapping",
        },
        _GEMMA,
        more=_gemma2,
    ),
    "gpt2": Architecture(
        "gpt2",
        {
            "block_count": "n_layer",
            "context_length": "n_positions",
            "embedding_length": "n_embd",
            "feed_forward_length": "n_inner",
            "attention.head_count": "n_head",
            "attention.layer_norm_epsilon": "layer_norm_epsilon",
        },
        _GPT2,
    ),
}
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
    name, how = _named(header)
    config = {"model_type": how.model_type} | _translated(header, name, how)
    if TOKENS not in header.tensors:
        raise InputError("is missing", where=TOKENS, allowed="a table of the vocabulary")
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
            raise InputError("is a tensor that this architecture does not have", where=FACTORS)
        config["rope_scaling"] = _scaling(header, name, config)
    _follows(header, name, config)
    return config


def _positive(value: Any, where: str) -> None:
    """Raise InputError for what cannot be a size: the family would divide by it, or take a default of its own."""
    if value is None:
        raise InputError("is missing", where=where, allowed="a number")
    if type(value) is not int or value < 1:
        raise InputError(f"found {shown(value)}", where=where, allowed="a whole number, at least 1")


def _translated(header: Header, name: str, how: Architecture) -> dict[str, Any]:
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
            raise InputError(f"is a key that is not understood{nearest(short, how.keys)}", where=key, allowed=allowed)
    if "factor" in scaling:  # llama.cpp src/llama-model.cpp: a factor of no type is a linear one
        scaling.setdefault("rope_type", "linear")
    return config | ({"rope_scaling": scaling} if scaling.get("rope_type", "none") != "none" else {})


def tensors_of(header: Header) -> tuple[TensorMap, Spelling]:
    """Where a file's tensors stand, and what may stand beside them."""
    left = {re.escape(FACTORS): "follows from the scaling of positions that was told from it"}
    return _named(header)[1].tensors, Spelling(left=left)


def _named(header: Header) -> tuple[str, Architecture]:
    name = header.metadata.get("general.architecture")
    if not isinstance(name, str) or name not in ARCHITECTURES:
        hint = nearest(name, ARCHITECTURES) if isinstance(name, str) else ""
        allowed = ", ".join(ARCHITECTURES)
        raise InputError(f"found {shown(name)}{hint}", where="general.architecture", allowed=allowed)
    if header.metadata.get("split.count", 0) not in (0, 1):
        raise InputError("is one of several parts", where="split.count", allowed="a whole model in one file")
    return name, ARCHITECTURES[name]


def _scaling(header: Header, name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """The `rope_scaling` whose factors stand in the file, and no parameter of it (Llama 3.1)."""
    for key in ("rope.scaling.type", "rope.scaling.factor"):
        if header.metadata.get(f"{name}.{key}", "none") != "none":
            raise InputError(f"scales positions beside {FACTORS}", where=f"{name}.{key}", allowed="one of the two")
    stored, d_head, theta = header.tensors[FACTORS], _d_head(config), config.get("rope_theta", 10_000.0)
    if not isinstance(d_head, int) or d_head < 2 or stored.shape != (d_head // 2,):
        allowed = f"a factor for each pair of a head's dimensions, which has {shown(d_head)}"
        raise InputError(f"has shape {list(stored.shape)}", where=FACTORS, allowed=allowed)
    if not isinstance(theta, int | float) or not theta > 1:
        raise InputError(f"found {shown(theta)}", where=f"{name}.rope.freq_base", allowed="a number above 1")
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
            raise InputError(f"found {shown(found)}", where=f"{name}.{key}", allowed=shown(value))


def _plain(value: Any) -> Any:
    """A number as it was before it was made a 32-bit one: 1e-05 rather than 9.999999747378752e-06."""
    if isinstance(value, float):
        short = float(f"{value:.7g}")
        return short if struct.pack("<f", short) == struct.pack("<f", value) else value
    return value
