"""Small configs of every family, one for each choice its adapter makes."""

from __future__ import annotations

from tests.hf.tiny import TINY

SMALL = {"vocab_size": 96, "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4}
LLAMA = SMALL | {"intermediate_size": 56, "max_position_embeddings": 64}
GPT2 = {"vocab_size": 96, "n_positions": 48, "n_embd": 32, "n_layer": 3, "n_head": 4}
T5 = {"vocab_size": 96, "d_model": 32, "d_kv": 12, "d_ff": 40, "num_layers": 2, "num_heads": 4}
MARIAN = {
    "vocab_size": 96,
    "d_model": 32,
    "encoder_layers": 3,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 8,
    "encoder_ffn_dim": 40,
    "decoder_ffn_dim": 56,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}
QWEN_MOE = LLAMA | {"moe_intermediate_size": 24, "num_experts": 6, "num_experts_per_tok": 2, "head_dim": 10}
DEEPSEEK = LLAMA | {
    "moe_intermediate_size": 24,
    "n_routed_experts": 8,
    "n_group": 4,
    "topk_group": 2,
    "num_experts_per_tok": 3,
    "q_lora_rank": 20,
    "kv_lora_rank": 28,
    "qk_nope_head_dim": 10,
    "qk_rope_head_dim": 6,
    "v_head_dim": 14,
    "first_k_dense_replace": 1,
    "num_nextn_predict_layers": 1,
}
GPT_OSS = LLAMA | {"num_local_experts": 6, "num_experts_per_tok": 2, "num_key_value_heads": 2, "head_dim": 12}
OPT = SMALL | {"ffn_dim": 40, "max_position_embeddings": 64}
YARN = {"type": "yarn", "factor": 4, "original_max_position_embeddings": 16, "mscale": 1.0, "mscale_all_dim": 1.0}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
LAYER_TYPES = ["sliding_attention", "sliding_attention", "full_attention", "full_attention"]

CONFIGS: dict[str, dict] = {
    name: {"model_type": name.split(":")[0]} | config
    for name, config in {
        "gpt2:default": {},
        "gpt2:small": GPT2,
        "gpt2:other spelling": {
            "vocab_size": 96,
            "max_position_embeddings": 48,
            "hidden_size": 32,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "n_inner": 50,
            "activation_function": "relu",
        },
        "gpt2:untied": GPT2 | {"tie_word_embeddings": False},
        "llama:default": {},
        "llama:grouped": LLAMA | {"num_key_value_heads": 2, "rope_theta": 500000, "rope_scaling": LLAMA3},
        "llama:biased": LLAMA | {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True},
        "llama:wide heads": LLAMA | {"head_dim": 20, "rope_scaling": {"type": "linear", "factor": 2.0}},
        "mistral:default": {},
        "mistral:window": LLAMA | {"num_key_value_heads": 4, "sliding_window": 16},
        "mistral:full": LLAMA | {"num_key_value_heads": 2, "sliding_window": None},
        "mixtral:default": {},
        "mixtral:small": LLAMA | {"num_key_value_heads": 2, "num_local_experts": 5, "num_experts_per_tok": 3},
        "mixtral:other spelling": LLAMA | {"num_key_value_heads": 2, "num_experts": 5, "sliding_window": 8},
        "qwen2:default": {},
        "qwen2:upper window": LLAMA
        | {"num_key_value_heads": 2, "use_sliding_window": True, "sliding_window": 8, "max_window_layers": 3},
        "qwen3:default": {},
        "qwen3:mixed": LLAMA
        | {"num_key_value_heads": 2, "use_sliding_window": True, "sliding_window": 8, "layer_types": LAYER_TYPES},
        "qwen3:window unused": LLAMA | {"num_key_value_heads": 2, "sliding_window": 8, "layer_types": LAYER_TYPES},
        "qwen3_moe:small": QWEN_MOE,
        "qwen3_moe:partly dense": QWEN_MOE | {"decoder_sparse_step": 2, "norm_topk_prob": True},
        "qwen3_moe:listed": QWEN_MOE | {"mlp_only_layers": [0, 3], "use_sliding_window": True, "sliding_window": 4},
        "gemma2:default": {},
        "gemma2:small": LLAMA | {"num_key_value_heads": 2, "head_dim": 12, "query_pre_attn_scalar": 144},
        "gemma2:odd": LLAMA
        | {
            "num_key_value_heads": 2,
            "num_hidden_layers": 3,
            "final_logit_softcapping": None,
            "query_pre_attn_scalar": 7,
        },
        "deepseek_v3:default": {},
        "deepseek_v3:small": DEEPSEEK,
        "deepseek_v3:straight": DEEPSEEK
        | {"q_lora_rank": None, "n_shared_experts": 2, "attention_bias": True, "rope_scaling": YARN},
        "deepseek_v3:all dense": DEEPSEEK | {"first_k_dense_replace": 9},
        "gpt_oss:default": {},
        "gpt_oss:small": GPT_OSS,
        "gpt_oss:other order": GPT_OSS
        | {"layer_types": LAYER_TYPES, "attention_bias": False, "swiglu_limit": 0.5, "swiglu_alpha": 1.2},
        "gpt_neox:default": {},
        "gpt_neox:small": LLAMA | {"rotary_pct": 0.5, "rotary_emb_base": 5000},
        "gpt_neox:serial": LLAMA | {"use_parallel_residual": False, "attention_bias": False},
        "phi:default": {},
        "phi:small": LLAMA | {"partial_rotary_factor": 0.25, "num_key_value_heads": 2},
        "phi:normed": LLAMA | {"qk_layernorm": True},
        "opt:default": {},
        "opt:small": OPT,
        "opt:350m": OPT | {"do_layer_norm_before": False, "word_embed_proj_dim": 20},
        "opt:untied and narrow": OPT | {"word_embed_proj_dim": 20, "tie_word_embeddings": False},
        "opt:plain": OPT | {"enable_bias": False, "_remove_final_layer_norm": True},
        "bloom:default": {},
        "bloom:small": {"vocab_size": 96, "n_embed": 32, "num_hidden_layers": 2, "num_attention_heads": 4},
        "falcon:default": {},
        "falcon:old": SMALL | {"multi_query": False, "alibi": True, "bias": True},
        "falcon:new": SMALL | {"new_decoder_architecture": True, "num_kv_heads": 2},
        "falcon:new, one norm": SMALL
        | {"new_decoder_architecture": True, "num_kv_heads": 2, "num_ln_in_parallel_attn": 1, "ffn_hidden_size": 90},
        "t5:default": {},
        "t5:small": T5,
        "t5:gated": T5 | {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False, "num_decoder_layers": 3},
        "mt5:default": {},
        "mt5:small": T5 | {"tie_word_embeddings": False, "relative_attention_num_buckets": 8},
        "marian:default": {},
        "marian:small": MARIAN | {"scale_embedding": True, "activation_function": "swish"},
        **TINY,
    }.items()
}
