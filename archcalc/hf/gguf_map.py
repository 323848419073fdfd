"""The GGUF files of a family: the architecture's name, its keys, its tensors.

Source: llama.cpp gguf-py/gguf/constants.py (keys, tensor names) and convert_hf_to_gguf.py (what it changes).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from archcalc.errors import InputError, shown
from archcalc.hf.config import MAX_LAYERS
from archcalc.hf.spellings import MAX_MTP_MODULES, Spelling
from archcalc.hf.tensors import TensorEntry, TensorMap, fused_modules, module, modules, table
from archcalc.spec.branches import parts
from archcalc.spec.mixer import Mamba2
from archcalc.words import msg

P = TypeVar("P")
if TYPE_CHECKING:
    from archcalc.formats.gguf_file import Header
    from archcalc.spec.model import Spec


# Layers behind the model's own that predict further tokens.
MTP_LAYERS = "nextn_predict_layers"
_ROPE_TABLES = {r"rope_(freqs|factors_long|factors_short)\.weight": "recovered as the scaling of positions"}


class GgufMap(msgspec.Struct, frozen=True):
    """A `general.architecture`: its keys (GGUF's → the config's), its tensors, and `fixed` keys of the config.

    `config_keys` returns further keys of the config from a header, of which it reads `own_keys`. `has_rope_factors`:
    the file may have `rope_freqs.weight`, which divides the frequency of each pair.

    - `aliases`: other architectures with these keys and tensors
    - `of_spec`: entries that depend on sizes of the spec; they come first
    - `origins`: keys of the config that `config_keys` returns, and the GGUF key from which each follows
    - `unused`: patterns of tensors that no forward pass reads, each with the reason
    - `missing`: fields of the model that files leave out
    - `listed`: keys with a list of numbers, one for each layer, and the name of the tensor that each number is
    - `values`: keys that may only have these values, which change nothing
    """

    name: str
    keys: Mapping[str, str]
    tensors: TensorMap
    fixed: Mapping[str, Any] = {}
    config_keys: Callable[[Header, dict[str, Any]], dict[str, Any]] = lambda header, config: {}
    has_rope_factors: bool = False
    own_keys: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    of_spec: Callable[[Spec], tuple[TensorEntry, ...]] | None = None
    origins: Mapping[str, str] = {}
    unused: Mapping[str, str] = {}
    values: Mapping[str, tuple[Any, ...]] = {}
    missing: tuple[str, ...] = ()
    listed: Mapping[str, str] = {}

    def spelling_of(self, spec: Spec) -> Spelling:
        """Return what a spec's files may have besides the tensors of the model."""
        unused = _ROPE_TABLES | dict(self.unused)
        n_layers = spec.decoder.n_layers if spec.decoder else None
        if MTP_LAYERS in self.own_keys and n_layers is not None:
            places = "|".join(map(str, range(n_layers, n_layers + MAX_MTP_MODULES)))
            unused[rf"blk\.({places})\..*"] = "predicts further tokens"
        return Spelling(unused=unused)

    def map_of(self, spec: Spec) -> TensorMap:
        """Return the map of the tensors of a spec's files."""
        if self.of_spec is None:
            return self.tensors
        return msgspec.structs.replace(self.tensors, entries=(*self.of_spec(spec), *self.tensors.entries))


def value_of(header: Header, key_name: str) -> Any:
    """Return the value of a key of the architecture, or None."""
    return header.metadata.get(f"{header.metadata['general.architecture']}.{key_name}")


def short_float(value: Any) -> Any:
    """Return a 32-bit number with the fewest digits that round to it: 1e-05, not 9.999999747378752e-06."""
    if isinstance(value, float):
        short = float(f"{value:.7g}")
        return short if struct.pack("<f", short) == struct.pack("<f", value) else value
    return value


def partial_rotary(header: Header, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the share of a head that is rotated, as the config has it; `own_keys` need `PARTIAL_ROTARY`."""
    n_rotated = value_of(header, PARTIAL_ROTARY)
    d_head = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    is_share = type(n_rotated) is type(d_head) is int and d_head > 0
    return {"partial_rotary_factor": n_rotated / d_head} if is_share else {}


def stored(**names: str) -> Callable[[Header, dict[str, Any]], dict[str, Any]]:
    """Return a function that tells for each key of a config whether some layer has a tensor: `attn_q.bias`."""

    def config_keys(header: Header, config: Mapping[str, Any]) -> dict[str, Any]:
        found = {re.sub(r"^blk\.\d+\.", "", name) for name in header.tensors}
        return {key: name in found for key, name in names.items()}

    return config_keys


def with_head(**names: str) -> Callable[[Header, dict[str, Any]], dict[str, Any]]:
    """Return a function like that of `stored` which also gives the width of a head, if the file leaves it out."""
    flags = stored(**names)

    def config_keys(header: Header, config: dict[str, Any]) -> dict[str, Any]:
        d_head = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
        return flags(header, config) | {"head_dim": d_head}

    return config_keys


def embedding_model(class_name: str) -> Callable[[Header, dict[str, Any]], dict[str, Any]]:
    """Return a function that gives the class of an encoder without a head, and the sizes of its tables."""

    def config_keys(header: Header, config: Mapping[str, Any]) -> dict[str, Any]:
        tables = {"type_vocab_size": "token_types.weight", "max_position_embeddings": "position_embd.weight"}
        rows = {key: header.tensors[name].shape[0] for key, name in tables.items() if name in header.tensors}
        return {"architectures": [class_name], **rows}

    return config_keys


def window_words(header: Header, period: int) -> list[str]:
    """Return a word for each layer: those of the file's list have a window, by default all but one of each `period`."""
    stated, n_layers = value_of(header, WINDOW_PATTERN), min(value_of(header, "block_count"), MAX_LAYERS + 1)
    if not isinstance(stated, list):
        period = stated if type(stated) is int and stated > 0 else period
        stated = [bool((index + 1) % period) for index in range(n_layers)]
    return ["sliding_attention" if slides else "full_attention" for slides in stated]


def layer_values(header: Header, key_name: str) -> list[Any]:
    """Return the value of a key for each layer: a list, or one value for all."""
    value, n_layers = value_of(header, key_name), value_of(header, "block_count")
    return value if isinstance(value, list) else [value] * min(n_layers, MAX_LAYERS + 1)


def layer_flags(header: Header, key_name: str) -> list[bool]:
    """Return for each layer whether a key gives it a size."""
    return [type(size) is int and size > 0 for size in layer_values(header, key_name)]


def layer_size(header: Header, key_name: str) -> int | None:
    """Return the size that a key gives all layers that have one; None if none has.

    Raises InputError if they differ.
    """
    sizes = {size for size in layer_values(header, key_name) if size}
    if len(sizes) > 1:
        found = ", ".join(str(shown(size)) for size in sizes)
        raise InputError(
            msg("differs from layer to layer: {found}", found=found),
            where=f"{header.metadata['general.architecture']}.{key_name}",
            allowed=msg("the same for all layers that have one"),
        )
    return sizes.pop() if sizes else None


def count_of(header: Header, key_name: str) -> int:
    """Return the count that a key states, 0 without it. Raises InputError for another value."""
    value = value_of(header, key_name) or 0
    if type(value) is not int or not 0 <= value <= MAX_LAYERS:
        raise InputError(
            msg("found {found}", found=shown(value)),
            where=f"{header.metadata['general.architecture']}.{key_name}",
            allowed=msg("a whole number"),
        )
    return value


def factor_of(header: Header, key_name: str, unit: str) -> int:
    """Return how often the size of one key has that of another. Raises InputError unless it is a multiple."""
    size, one = value_of(header, key_name), value_of(header, unit)
    if type(size) is not int or type(one) is not int or one < 1 or size < 1 or size % one:
        raise InputError(
            msg("found {found}", found=shown(size)),
            where=f"{header.metadata['general.architecture']}.{key_name}",
            allowed=msg("a multiple of {unit}, {size}", unit=unit, size=shown(one)),
        )
    return size // one


def first_part(spec: Spec, kind: type[P]) -> P | None:
    """Return the first part of a class that a spec has, or None."""
    layers = (layer for each in spec.stacks for run in each.stack.runs for layer in run.pattern)
    found = (part for layer in layers for part in parts(layer).values())
    return next((part for part in found if isinstance(part, kind)), None)


WINDOW_PATTERN = "attention.sliding_window_pattern"
PARTIAL_ROTARY = "rope.dimension_count"
# Of factors for long contexts: the length up to which the short ones hold, and the factor of cosine and sine.
ORIGINAL_CONTEXT, ROPE_FACTOR = "rope.scaling.original_context_length", "rope.scaling.attn_factor"
OUTSIDE = (*modules({"embed.tokens": "token_embd", "final_norm": "output_norm"}), *module("head", "output"))
BLOCK = ("layers.{i}.", "blk.{i}.")
QK = {"attn.q": "attn_q", "attn.k": "attn_k"}
QK_NORMS = {"attn.q_norm": "attn_q_norm", "attn.k_norm": "attn_k_norm"}
ATTENTION = {"attn.v": "attn_v", "attn.out": "attn_output", "attn_norm": "attn_norm"}
DENSE = {"ffn.gate": "ffn_gate", "ffn.up": "ffn_up", "ffn.down": "ffn_down"}
FFN = DENSE | {"ffn_norm": "ffn_norm"}
EXPERTS = {
    "ffn.experts.gate": "ffn_gate_exps",
    "ffn.experts.up": "ffn_up_exps",
    "ffn.experts.down": "ffn_down_exps",
    "ffn.router": "ffn_gate_inp",
}
SHARED_EXPERT = {
    "ffn.shared.gate": "ffn_gate_shexp",
    "ffn.shared.up": "ffn_up_shexp",
    "ffn.shared.down": "ffn_down_shexp",
}
MIXTURE = (
    *modules(EXPERTS | SHARED_EXPERT, *BLOCK),
    TensorEntry("blk.{i}.exp_probs_b.bias", ("layers.{i}.ffn.correction_bias",)),
    TensorEntry("blk.{i}.ffn_gate_inp_shexp.weight", ("layers.{i}.ffn.shared_gate.weight",), is_flat=True),
)
# The converter permutes LLaMA's q and k, so that rows that rotate as a pair are neighbors.
PERMUTED_QK = modules(QK, *BLOCK, order="turned")
PERMUTED = table(OUTSIDE, PERMUTED_QK, modules(ATTENTION | FFN, *BLOCK), MIXTURE)
UNPERMUTED_ENTRIES = (*OUTSIDE, *modules(QK | QK_NORMS | ATTENTION | FFN, *BLOCK), *MIXTURE)
UNPERMUTED = table(UNPERMUTED_ENTRIES)
PERMUTED_ENTRIES = (*PERMUTED_QK, *UNPERMUTED_ENTRIES)
FUSED_QKV = fused_modules(tuple(f"layers.{{i}}.attn.{part}" for part in "qkv"), "blk.{i}.attn_qkv")
FUSED_GATE_UP = fused_modules(("layers.{i}.ffn.gate", "layers.{i}.ffn.up"), "blk.{i}.ffn_up")
POST_NORMS = {"attn_norm": "attn_output_norm", "ffn_norm": "layer_output_norm"}
OUT_NORMS = {"attn_out_norm": "post_attention_norm", "ffn_out_norm": "post_ffw_norm"}
# Many families' norm before the feed-forward has this name.
POST_ATTENTION = modules({"ffn_norm": "post_attention_norm"}, *BLOCK)
# Mamba's mixers. Files have A, not the logarithm of its negative.
SSM = (
    *modules(
        {
            "mixer_norm": "attn_norm",
            "mixer.in": "ssm_in",
            "mixer.x": "ssm_x",
            "mixer.dt": "ssm_dt",
            "mixer.out": "ssm_out",
            "mixer.dt_norm": "ssm_dt_norm",
            "mixer.b_norm": "ssm_b_norm",
            "mixer.c_norm": "ssm_c_norm",
        },
        *BLOCK,
    ),
    TensorEntry("blk.{i}.ssm_conv1d.weight", ("layers.{i}.mixer.conv.weight",), squeezed_axes=(1,)),
    TensorEntry("blk.{i}.ssm_conv1d.bias", ("layers.{i}.mixer.conv.bias",)),
)
SSM1 = (
    *SSM,
    TensorEntry("blk.{i}.ssm_a", ("layers.{i}.mixer.A_log",), is_negative_exp=True),
    TensorEntry("blk.{i}.ssm_d", ("layers.{i}.mixer.D",)),
)
SSM2 = (
    *SSM,
    TensorEntry("blk.{i}.ssm_a", ("layers.{i}.mixer.A_log",), is_negative_exp=True, unit_axes=(1,)),
    TensorEntry("blk.{i}.ssm_d", ("layers.{i}.mixer.D",), unit_axes=(1,)),
    TensorEntry("blk.{i}.ssm_dt.bias", ("layers.{i}.mixer.dt_bias",)),
)


def grouped_norm(spec: Spec) -> tuple[TensorEntry, ...]:
    """Return the entry of the norm of Mamba-2's mixers: a row for each group of states."""
    mixer = first_part(spec, Mamba2)
    n_groups = mixer.n_state_groups if mixer else 1
    return (TensorEntry("blk.{i}.ssm_norm.weight", ("layers.{i}.mixer.norm.weight",), n_row_groups=n_groups),)


RMS_EPS, KV_HEADS = "attention.layer_norm_rms_epsilon", "attention.head_count_kv"
SIZES = {
    "block_count": "num_hidden_layers",
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    KV_HEADS: "num_key_value_heads",
    RMS_EPS: "rms_norm_eps",
    "rope.freq_base": "rope_theta",
}
# Of models with LayerNorm.
NORM_EPS = "attention.layer_norm_epsilon"
LAYERNORM_SIZES = {key: name for key, name in SIZES.items() if key != RMS_EPS}
HEAD_DIM = {"attention.key_length": "head_dim"}
# Of models that embed texts: what their states are for.
EMBEDDING_KEYS = ("pooling_type", "attention.causal", "embedding_length_out")
# Of encoders with a norm after each sum.
ENCODER_ENTRIES = modules(
    {
        "embed.types": "token_types",
        "embed_norm": "token_embd_norm",
        "positions": "position_embd",
        **{f"layers.{{i}}.{name}": f"blk.{{i}}.{norm}" for name, norm in POST_NORMS.items()},
    }
)
# Of models in which some layers have no attention.
HYBRID_SIZES = {key: name for key, name in SIZES.items() if key != KV_HEADS}
# DeepSeek's words.
CORRECTED_EXPERTS = {
    "expert_count": "n_routed_experts",
    "expert_used_count": "num_experts_per_tok",
    "expert_feed_forward_length": "moe_intermediate_size",
    "expert_shared_count": "n_shared_experts",
    "expert_weights_scale": "routed_scaling_factor",
    "expert_weights_norm": "norm_topk_prob",
    "expert_group_count": "n_group",
    "expert_group_used_count": "topk_group",
    "leading_dense_block_count": "first_k_dense_replace",
}
SOFTMAX, SIGMOID = 1, 2
MAMBA_SIZES = {
    "ssm.conv_kernel": "mamba_d_conv",
    "ssm.state_size": "mamba_d_state",
    "ssm.group_count": "mamba_n_groups",
    "ssm.time_step_rank": "mamba_n_heads",
}
EXPERT_KEYS = {
    "expert_count": "num_local_experts",
    "expert_used_count": "num_experts_per_tok",
    "expert_feed_forward_length": "moe_intermediate_size",
}
