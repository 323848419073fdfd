"""Small configs of GPT-2's relatives."""

from __future__ import annotations

GPT2 = {"vocab_size": 96, "n_positions": 48, "n_embd": 32, "n_layer": 3, "n_head": 4}
GPT_NEO = {"vocab_size": 96, "hidden_size": 32, "num_layers": 4, "num_heads": 4, "max_position_embeddings": 48}
SMALL = {"vocab_size": 96, "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4}
MPT = {"vocab_size": 96, "d_model": 48, "n_layers": 2, "n_heads": 6, "max_seq_len": 40}
DBRX = {"vocab_size": 96, "d_model": 48, "n_layers": 2, "n_heads": 6, "max_seq_len": 40}
NEEDS = {"dbrx": {"attn_config": {"rope_theta": 10_000.0, "clip_qkv": 8.0}}}

CONFIGS = {
    "gpt2:unscaled": GPT2 | {"scale_attn_weights": False},
    "gpt2:by depth": GPT2 | {"scale_attn_by_inverse_layer_idx": True},
    "gpt2:by depth, unscaled": GPT2 | {"scale_attn_by_inverse_layer_idx": True, "scale_attn_weights": False},
    "gpt2:crossing": GPT2 | {"add_cross_attention": True},
    "gpt_bigcode:crossing": GPT2 | {"add_cross_attention": True, "multi_query": False},
    "gpt-sw3:small": GPT2 | {"n_inner": 50},
    "gpt_bigcode:small": GPT2 | {"n_inner": 50, "scale_attn_weights": False},
    "gpt_bigcode:all heads": GPT2 | {"multi_query": False, "activation_function": "relu", "tie_word_embeddings": False},
    "openai-gpt:small": GPT2 | {"afn": "silu"},
    "gptj:small": GPT2 | {"rotary_dim": 6},
    "gptj:tied": GPT2 | {"rotary_dim": 8, "tie_word_embeddings": True, "n_inner": 40, "activation_function": "relu"},
    "codegen:small": GPT2 | {"rotary_dim": 4, "n_head": 8},
    "ctrl:small": GPT2 | {"dff": 40},
    "gpt_neo:small": GPT_NEO | {"attention_types": [[["global", "local"], 2]], "window_size": 5},
    "gpt_neo:odd": GPT_NEO
    | {"attention_types": [[["local"], 1], [["global"], 3]], "intermediate_size": 50, "tie_word_embeddings": False},
    "gpt_neox_japanese:small": SMALL | {"intermediate_multiple_size": 3, "rotary_pct": 0.5, "rotary_emb_base": 5000},
    "biogpt:small": SMALL | {"intermediate_size": 56, "max_position_embeddings": 48, "scale_embedding": False},
    "mpt:small": MPT | {"attn_config": {"softmax_scale": 0.3, "attn_pdrop": 0}},
    "mpt:clipped": MPT | {"attn_config": {"clip_qkv": 0.3, "alibi_bias_max": 3}, "tie_word_embeddings": False},
    "dbrx:small": DBRX
    | {"attn_config": {"rope_theta": 10_000.0, "clip_qkv": 4.0}, "ffn_config": {"ffn_hidden_size": 20}},
    "dbrx:clipped": DBRX
    | {
        "attn_config": {"rope_theta": 50.0, "kv_n_heads": 3, "clip_qkv": 0.3},
        "rope_parameters": {"rope_type": "default", "rope_theta": 50.0},
        "ffn_config": {"ffn_hidden_size": 20, "moe_num_experts": 5, "moe_top_k": 2, "ffn_act_fn": {"name": "gelu"}}
        | {"moe_normalize_expert_weights": None},
    },
    "xglm:small": {"vocab_size": 96, "d_model": 32, "num_layers": 3, "attention_heads": 4, "ffn_dim": 40},
    "xglm:unscaled": {"vocab_size": 96, "d_model": 32, "num_layers": 2, "attention_heads": 4, "ffn_dim": 40}
    | {"scale_embedding": False, "activation_function": "relu"},
    "xglm:crossing": {"vocab_size": 96, "d_model": 32, "num_layers": 2, "attention_heads": 4, "ffn_dim": 40}
    | {"add_cross_attention": True},
    "falcon:serial": SMALL | {"parallel_attn": False, "bias": True, "multi_query": False},
    "bloom:skips normed": {"vocab_size": 96, "hidden_size": 32, "n_layer": 3, "n_head": 4}
    | {"apply_residual_connection_post_layernorm": True, "tie_word_embeddings": False},
    "gpt2:laplace": GPT2 | {"activation_function": "laplace"},
    "opt:root of softplus": SMALL | {"ffn_dim": 40, "activation_function": "sqrtsoftplus"},
    "opt:untied": SMALL | {"ffn_dim": 40, "max_position_embeddings": 64, "tie_word_embeddings": False},
}
