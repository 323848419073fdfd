"""Decoders with mixers: a layer of each kind at least, convolutions and states that no default has."""

from __future__ import annotations

from typing import Any

from tests.hf.tiny.llama_like import GROUPED, RMS, THETA

CONV = {"layer_types": ["conv", "full_attention", "conv", "full_attention"], "norm_eps": 0.03, "conv_L_cache": 4}
LINEAR = {
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 6,
    "linear_value_head_dim": 10,
    "linear_conv_kernel_dim": 3,
}
HYBRID = {"layer_types": ["linear_attention", "full_attention", "linear_attention", "linear_attention"]}
QWEN = RMS | LINEAR | HYBRID | {"head_dim": 16}
QWEN_MOE = QWEN | {
    "num_experts": 6,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 24,
    "shared_expert_intermediate_size": 20,
}

CONFIGS: dict[str, dict[str, Any]] = {
    "lfm2:plain": GROUPED | CONV | {"block_auto_adjust_ff_dim": False},
    "lfm2:biased": GROUPED
    | CONV
    | THETA
    | {"conv_bias": True, "tie_word_embeddings": False, "block_multiple_of": 10, "block_ffn_dim_multiplier": 1.2},
    "qwen3_5_moe_text:default switches": QWEN_MOE,
    "qwen3_5_moe_text:biased": QWEN_MOE | {"attention_bias": True, "tie_word_embeddings": True},
    "qwen3_5_text:default switches": QWEN,
    "qwen3_5_text:biased": QWEN
    | {"attention_bias": True, "tie_word_embeddings": True, "layer_types": None, "full_attention_interval": 3}
    | {"linear_num_key_heads": 3, "linear_num_value_heads": 3},
    "qwen3_next:default switches": QWEN_MOE,
    "qwen3_next:mixed": QWEN_MOE
    | {"attention_bias": True, "mlp_only_layers": [1, 2], "norm_topk_prob": False, "partial_rotary_factor": 0.5},
}
