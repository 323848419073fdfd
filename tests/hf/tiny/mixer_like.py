"""Decoders with mixers: a layer of each kind at least, convolutions and states that no default has."""

from __future__ import annotations

from typing import Any

from tests.hf.tiny.llama_like import GROUPED, THETA

CONV = {"layer_types": ["conv", "full_attention", "conv", "full_attention"], "norm_eps": 0.03, "conv_L_cache": 4}

MAMBA = {
    "vocab_size": 96,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "state_size": 7,
    "conv_kernel": 3,
    "layer_norm_epsilon": 0.03,
    "pad_token_id": None,
}
JAMBA = GROUPED | {
    "rms_norm_eps": 0.03,
    "mamba_d_state": 7,
    "attn_layer_period": 3,
    "attn_layer_offset": 1,
    "num_experts": 5,
    "num_hidden_layers": 5,
}

CONFIGS: dict[str, dict[str, Any]] = {
    "lfm2:plain": GROUPED | CONV | {"block_auto_adjust_ff_dim": False},
    "mamba:plain": MAMBA,
    "mamba:other switches": MAMBA
    | {"use_bias": True, "use_conv_bias": False, "expand": 3, "time_step_rank": 5, "tie_word_embeddings": False},
    "falcon_mamba:plain": MAMBA | {"mixer_rms_eps": 0.2},
    "falcon_mamba:own width": MAMBA | {"intermediate_size": 40, "tie_word_embeddings": False, "use_bias": True},
    "jamba:plain": JAMBA,
    "jamba:other switches": JAMBA
    | {"expert_layer_period": 3, "mamba_conv_bias": False, "mamba_proj_bias": True, "mamba_dt_rank": 6},
    "lfm2:biased": GROUPED
    | CONV
    | THETA
    | {"conv_bias": True, "tie_word_embeddings": False, "block_multiple_of": 10, "block_ffn_dim_multiplier": 1.2},
}
