"""Small configs of T5's relatives."""

from __future__ import annotations

T5 = {"vocab_size": 96, "d_model": 32, "d_kv": 12, "d_ff": 40, "num_layers": 2, "num_heads": 4}

SWITCH = T5 | {"num_experts": 5, "num_sparse_encoder_layers": 1, "num_sparse_decoder_layers": 1}

CONFIGS = {
    "mt5:silu": T5 | {"feed_forward_proj": "gated-silu", "num_decoder_layers": 3},
    "switch_transformers:default switches": SWITCH,
    "switch_transformers:untied": SWITCH
    | {"num_decoder_layers": 3, "num_sparse_decoder_layers": 3, "encoder_sparse_step": 0, "router_bias": True}
    | {"tie_word_embeddings": False, "dense_act_fn": "silu"},
    "t5:gated by a second key": T5 | {"is_gated_act": True, "dense_act_fn": "gelu"},
    "t5:untied and scaled": T5 | {"tie_word_embeddings": False, "scale_decoder_outputs": True},
    "t5:near": T5 | {"relative_attention_max_distance": 9},
    "t5:unscaled": T5 | {"scale_decoder_outputs": False},
    "umt5:small": T5 | {"num_decoder_layers": 3, "relative_attention_num_buckets": 8},
    "umt5:plain": T5 | {"feed_forward_proj": "relu", "relative_attention_max_distance": 9},
}
