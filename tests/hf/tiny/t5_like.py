"""Small configs of T5's relatives."""

from __future__ import annotations

from typing import Any

T5 = {"vocab_size": 96, "d_model": 32, "d_kv": 12, "d_ff": 40, "num_layers": 2, "num_heads": 4}

SWITCH = T5 | {"num_experts": 5, "num_sparse_encoder_layers": 1, "num_sparse_decoder_layers": 1}
GEMMA = {"vocab_size": 96, "hidden_size": 32, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 12}
GEMMA |= {"intermediate_size": 40, "num_hidden_layers": 3, "max_position_embeddings": 64, "query_pre_attn_scalar": 7}
GEMMA |= {"sliding_window": 4, "rms_norm_eps": 0.03, "pad_token_id": 0}
OTHER = GEMMA | {"vocab_size": 97, "hidden_size": 24, "num_hidden_layers": 2, "num_key_value_heads": 1}

CONFIGS: dict[str, Any] = {
    "t5gemma:small": {"encoder": GEMMA, "decoder": GEMMA},
    "t5gemma:of two widths": {
        "encoder": OTHER | {"attention_bias": True, "attn_logit_softcapping": None},
        "decoder": GEMMA | {"final_logit_softcapping": None, "attn_logit_softcapping": 3.0},
        "tie_word_embeddings": False,
    },
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
