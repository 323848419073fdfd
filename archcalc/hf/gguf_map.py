"""The GGUF files of a family: the architecture's name, its keys, its tensors.

Source: llama.cpp gguf-py/gguf/constants.py (keys, tensor names) and convert_hf_to_gguf.py (what it changes).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from archcalc.hf.tensors import TensorMap, module, modules, table

if TYPE_CHECKING:
    from archcalc.formats.gguf_file import Header


class GgufMap(msgspec.Struct, frozen=True):
    """A `general.architecture`: its keys (GGUF's → the config's), its tensors, and `fixed` keys of the config.

    `config_keys` returns further keys of the config from a header, of which it reads `own_keys`. `has_rope_factors`:
    the file may have `rope_freqs.weight`, which divides the frequency of each pair.
    """

    name: str
    keys: Mapping[str, str]
    tensors: TensorMap
    fixed: Mapping[str, Any] = {}
    config_keys: Callable[[Header, dict[str, Any]], dict[str, Any]] = lambda header, config: {}
    has_rope_factors: bool = False
    own_keys: tuple[str, ...] = ()


def value_of(header: Header, key_name: str) -> Any:
    """Return the value of a key of the architecture, or None."""
    return header.metadata.get(f"{header.metadata['general.architecture']}.{key_name}")


def partial_rotary(header: Header, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the share of a head that is rotated, as the config has it; `own_keys` need `PARTIAL_ROTARY`."""
    n_rotated = value_of(header, PARTIAL_ROTARY)
    d_head = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    return {"partial_rotary_factor": n_rotated / d_head} if isinstance(n_rotated, int) else {}


PARTIAL_ROTARY = "rope.dimension_count"
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
# The converter permutes LLaMA's q and k, so that rows that rotate as a pair are neighbors.
PERMUTED = table(OUTSIDE, modules(QK, *BLOCK, order="turned"), modules(ATTENTION | FFN | EXPERTS, *BLOCK))
UNPERMUTED = table(OUTSIDE, modules(QK | QK_NORMS | ATTENTION | FFN | EXPERTS, *BLOCK))
SHARED_EXPERT = {
    "ffn.shared.gate": "ffn_gate_shexp",
    "ffn.shared.up": "ffn_up_shexp",
    "ffn.shared.down": "ffn_down_shexp",
}
OUT_NORMS = {"attn_out_norm": "post_attention_norm", "ffn_out_norm": "post_ffw_norm"}

SIZES = {
    "block_count": "num_hidden_layers",
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "rope.freq_base": "rope_theta",
}
# Of models with LayerNorm.
LAYERNORM_SIZES = {key: name for key, name in SIZES.items() if key != "attention.layer_norm_rms_epsilon"}
HEAD_DIM = {"attention.key_length": "head_dim"}
EXPERT_KEYS = {
    "expert_count": "num_local_experts",
    "expert_used_count": "num_experts_per_tok",
    "expert_feed_forward_length": "moe_intermediate_size",
}
