"""Decoders with mixers: a layer of each kind at least, convolutions and states that no default has."""

from __future__ import annotations

from typing import Any

from tests.hf.tiny.llama_like import GROUPED, THETA

CONV = {"layer_types": ["conv", "full_attention", "conv", "full_attention"], "norm_eps": 0.03, "conv_L_cache": 4}

CONFIGS: dict[str, dict[str, Any]] = {
    "lfm2:plain": GROUPED | CONV | {"block_auto_adjust_ff_dim": False},
    "lfm2:biased": GROUPED
    | CONV
    | THETA
    | {"conv_bias": True, "tie_word_embeddings": False, "block_multiple_of": 10, "block_ffn_dim_multiplier": 1.2},
}
