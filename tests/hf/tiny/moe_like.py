"""LLaMA-likes with experts: four layers, 32 wide, few experts, windows of 5."""

from __future__ import annotations

from typing import Any

from tests.hf.tiny.llama_like import BASE, BIASED, BY_KIND, LAYER, LLAMA3, MIXED, RMS, THETA

TOP_2 = RMS | {"num_experts_per_tok": 2}
# Groups that matter: two of four, of two experts each.
GROUPS = {"n_group": 4, "topk_group": 2, "norm_topk_prob": True, "routed_scaling_factor": 1.7}
SMALL = {"moe_intermediate_size": 24}
SHARED = {"shared_expert_intermediate_size": 20}
FEEDS = {"mlp_layer_types": ["sparse", "dense", "dense", "sparse"]}
HEAD = {"head_dim": 12}
DOTS1 = TOP_2 | SMALL | {"n_routed_experts": 8, "n_shared_experts": 2}
GLM4_MOE = DOTS1 | GROUPS | HEAD
EXAONE_MOE = TOP_2 | SMALL | {"num_experts": 8, "sliding_window": 5}
HY_V3 = TOP_2 | SMALL | HEAD | {"num_experts": 8, "router_scaling_factor": 1.7}
MELLUM = TOP_2 | SMALL | HEAD | {"num_experts": 6, "sliding_window": 5}
QWEN2_MOE = TOP_2 | SMALL | SHARED | {"num_experts": 6}
FLINT = QWEN2_MOE | HEAD | {"sliding_window": 5}
MINIMAX_M2 = TOP_2 | HEAD | {"num_local_experts": 6}
ERNIE = RMS | SMALL | {"moe_num_experts": 6, "moe_k": 2}
MINIMAX_M3 = TOP_2 | HEAD | {"num_local_experts": 6, "dense_intermediate_size": 44, "shared_intermediate_size": 20}
KOLIBRI1 = TOP_2 | SMALL | SHARED | HEAD | {"num_local_experts": 6, "sliding_window": 5}
COHERE2 = LAYER | HEAD | {"num_experts": 5, "num_experts_per_tok": 2, "sliding_window": 5, "logit_scale": 0.3}
PHIMOE = TOP_2 | {"num_local_experts": 6}
GRANITE = {"embedding_multiplier": 3.0, "logits_scaling": 5.0, "residual_multiplier": 0.4, "attention_multiplier": 0.2}
AFMOE = TOP_2 | SMALL | HEAD | {"num_experts": 6, "sliding_window": 5}
BEAM = AFMOE | {"num_experts": 8, "n_group": 4, "topk_group": 2}
LAGUNA = AFMOE | SHARED
MIMO = TOP_2 | SMALL | {"n_routed_experts": 8, "head_dim": 20, "v_head_dim": 14, "sliding_window": 5}
# What the classes need that cannot be built, or not run, from their defaults.
NEEDS = {
    "dots1": {"n_routed_experts": 128, "num_experts_per_tok": 6, "n_shared_experts": 2},
}

LLAMA4 = RMS | {"num_local_experts": 5, "intermediate_size_mlp": 40, "head_dim": 12, "attention_chunk_size": 4}
ZAYA = RMS | SMALL | {"num_key_value_heads": 2, "head_dim": 12, "num_experts": 5, "router_hidden_size": 10}
ZAYA |= {"num_attention_heads": 6}
JETMOE = BASE | {
    "num_key_value_heads": 2,
    "kv_channels": 12,
    "num_local_experts": 5,
    "num_experts_per_tok": 3,
    "intermediate_size": 24,
    "rms_norm_eps": 0.03,
}

CONFIGS: dict[str, dict[str, Any]] = {
    "afmoe:default switches": AFMOE,
    "afmoe:scaled": AFMOE
    | MIXED
    | THETA
    | {"mup_enabled": True, "num_dense_layers": 2, "num_shared_experts": 1, "route_scale": 1.7, "attention_bias": True},
    "afmoe:period": AFMOE | {"global_attn_every_n_layers": 2},
    "aria_text:default switches": RMS | {"moe_num_experts": 6},
    "aria_text:biased": RMS | BIASED | HEAD | {"moe_num_experts": 5, "moe_topk": 3, "moe_num_shared_experts": 1},
    "beam:default switches": BEAM,
    "beam:mixed": BEAM | MIXED | FEEDS | GROUPS | {"final_logit_softcapping": 2.0, "attention_bias": True} | BY_KIND,
    "beam:not rotated": BEAM
    | MIXED
    | {"final_logit_softcapping": None, "norm_topk_prob": False, "mlp_layer_types": ["sparse"] * 4}
    | {"rope_parameters": {"full_attention": BY_KIND["rope_parameters"]["full_attention"], "sliding_attention": None}},
    "cohere2_moe:default switches": COHERE2,
    "cohere2_moe:shared": COHERE2
    | {"num_shared_experts": 2, "first_k_dense_replace": 2, "sliding_window_pattern": 2, "attention_bias": True},
    "cohere2_moe:sigmoid": COHERE2
    | MIXED
    | FEEDS
    | THETA
    | {"expert_selection_fn": "sigmoid", "num_shared_experts": 1, "shared_expert_combination_strategy": "sum"}
    | {"prefix_dense_sliding_window_pattern": 2, "prefix_dense_intermediate_size": 44, "rms_norm_eps": 0.05},
    "cohere2_moe:unnormalized": COHERE2
    | {"expert_selection_fn": "sigmoid", "norm_topk_prob": False, "tie_word_embeddings": False}
    | {"mlp_layer_types": ["dense", "dense", "sparse", "dense"]},
    "dots1:default switches": DOTS1,
    "dots1:grouped": DOTS1 | GROUPS | {"first_k_dense_replace": 2, "attention_bias": True},
    "dots1:sliding": DOTS1 | HEAD | {"max_window_layers": 2, "sliding_window": 5, "first_k_dense_replace": 1},
    "ernie4_5_moe:default switches": ERNIE,
    "ernie4_5_moe:none shared": ERNIE | HEAD | {"moe_num_shared_experts": 0, "tie_word_embeddings": False},
    "ernie4_5_moe:interval": ERNIE
    | {"use_bias": True, "moe_layer_start_index": 1, "moe_layer_end_index": 2, "moe_layer_interval": 2}
    | {"moe_norm_min": 0.9, "moe_num_shared_experts": 1}
    | THETA,
    "exaone_moe:default switches": EXAONE_MOE,
    "exaone_moe:mixed": EXAONE_MOE | GROUPS | MIXED | FEEDS | HEAD | {"num_shared_experts": 2},
    "flex_olmo:default switches": TOP_2 | {"num_experts": 6},
    "flex_olmo:normalized": TOP_2 | {"num_experts": 6, "norm_topk_prob": True, "attention_bias": True} | THETA,
    "flint:default switches": FLINT,
    "flint:mixed": FLINT | MIXED | {"mlp_only_layers": [2], "norm_topk_prob": False, "attention_bias": True},
    "flint:every second": FLINT | {"mlp_only_layers": [], "decoder_sparse_step": 2},
    "glm4_moe:default switches": DOTS1 | HEAD,
    "glm4_moe:normed": GLM4_MOE | {"use_qk_norm": True, "attention_bias": True, "partial_rotary_factor": 0.34},
    "glm4_moe:odd part": DOTS1 | {"head_dim": 10} | THETA,
    "glm4_moe:all dense": GLM4_MOE | {"first_k_dense_replace": 9},
    "granitemoe:default switches": TOP_2,
    "granitemoe:scaled": TOP_2 | GRANITE | {"attention_bias": True, "head_dim": 12} | THETA,
    "granitemoeshared:none shared": TOP_2,
    "granitemoeshared:scaled": TOP_2 | GRANITE | {"shared_intermediate_size": 20, "tie_word_embeddings": True},
    "granitemoe_swa:default switches": TOP_2 | {"sliding_window": 5},
    "granitemoe_swa:mixed": TOP_2
    | GRANITE
    | MIXED
    | THETA
    | {"shared_intermediate_size": 20, "sliding_window": 5, "layer_rope_theta": [500.0, 0, 20.0, 0]},
    "hunyuan_v1_moe:one expert": RMS | HEAD,
    "hunyuan_v1_moe:experts": TOP_2 | HEAD | {"num_experts": 6, "attention_bias": True} | THETA,
    "hunyuan_v1_moe:alpha": RMS
    | HEAD
    | {"rope_scaling": {"type": "dynamic", "alpha": 50.0, "factor": 1.0}, "rope_theta": 77.0},
    "hunyuan_v1_moe:by layer": RMS | HEAD | {"num_experts": 6, "moe_topk": [2, 1, 1, 4]},
    "hy_v3:default switches": HY_V3,
    "hy_v3:mixed": HY_V3 | BIASED | FEEDS | {"num_shared_experts": 2, "enable_moe_fp32_combine": False} | THETA,
    "kolibri1:default switches": KOLIBRI1,
    "kolibri1:normalized": KOLIBRI1 | MIXED | {"norm_topk_prob": True, "tie_word_embeddings": True} | THETA,
    "laguna:default switches": LAGUNA,
    "laguna:mixed": LAGUNA
    | MIXED
    | FEEDS
    | BY_KIND
    | {"gating": "per-element", "moe_router_logit_softcapping": 1.5, "attention_bias": True},
    "laguna:odd part": LAGUNA | MIXED | {"head_dim": 10},
    "laguna:by layer": LAGUNA
    | MIXED
    | {"num_attention_heads_per_layer": [4, 2, 6, 6], "gating": "per-head", "moe_routed_scaling_factor": 1.7},
    "llama4_text:default switches": LLAMA4 | {"floor_scale": 3, "attn_scale": 0.7},
    "llama4_text:mixed": LLAMA4
    | {"no_rope_layers": [0, 1, 1, 0], "moe_layers": [1, 3], "use_qk_norm": False, "num_experts_per_tok": 2}
    | {"layer_types": ["chunked_attention", "full_attention", "chunked_attention", "full_attention"]}
    | {"attention_bias": True, "attn_temperature_tuning": False},
    "mellum:default switches": MELLUM,
    "mellum:mixed": MELLUM | MIXED | FEEDS | BY_KIND | {"norm_topk_prob": False, "attention_bias": True},
    "mimo_v2_flash:default switches": MIMO,
    "mimo_v2_flash:mixed": MIMO | MIXED | FEEDS | GROUPS | {"attention_value_scale": 2.5, "attention_bias": True},
    "mimo_v2_flash:older window": MIMO
    | MIXED
    | BY_KIND
    | {"sliding_window_size": 3, "routed_scaling_factor": None, "attention_value_scale": None, "v_head_dim": 12},
    "mimo_v2_flash:odd part": MIMO | {"head_dim": 16},
    "jetmoe:plain": JETMOE,
    "jetmoe:other switches": JETMOE
    | THETA
    | {"tie_word_embeddings": False, "num_experts_per_tok": 1, "activation_function": "gelu"},
    "zaya:default switches": ZAYA,
    "zaya:sliding": ZAYA
    | BIASED
    | {"layer_types": ["hybrid_sliding", "hybrid", "hybrid", "hybrid_sliding"], "sliding_window": 5}
    | {"cca_time0": 3, "cca_time1": 4, "num_key_value_heads": 1, "lm_head_bias": True, "tie_word_embeddings": False}
    | {
        "rope_parameters": {
            "hybrid": LLAMA3 | {"partial_rotary_factor": 0.5},
            "hybrid_sliding": {"rope_type": "default", "rope_theta": 77.0},
        }
    },
    "minimax_m2:default switches": MINIMAX_M2,
    "minimax_m2:partly turned": MINIMAX_M2 | {"rotary_dim": 8} | THETA,
    "minimax_m2:odd part": MINIMAX_M2 | {"rotary_dim": 5},
    "minimax_m3_vl_text:default switches": MINIMAX_M3,
    "minimax_m3_vl_text:mixed": MINIMAX_M3
    | FEEDS
    | {"swiglu_limit": 0.4, "swiglu_alpha": 1.2, "routed_scaling_factor": 1.3, "tie_word_embeddings": True}
    | {"rope_parameters": {"rope_type": "default", "rope_theta": 77.0, "partial_rotary_factor": 0.5}},
    "minimax_m2:share": MINIMAX_M2 | {"rope_parameters": LLAMA3 | {"partial_rotary_factor": 0.5}, "rotary_dim": 10},
    "olmoe:default switches": TOP_2 | {"num_experts": 6},
    "olmoe:normalized": TOP_2 | {"num_experts": 6, "norm_topk_prob": True, "attention_bias": True},
    "olmoe:clipped": TOP_2 | {"num_experts": 6, "clip_qkv": 0.7},
    "phimoe:default switches": PHIMOE,
    "phimoe:longrope": PHIMOE
    | {
        "rope_scaling": {
            "type": "longrope",
            "short_factor": [1.0, 1.5, 2.0, 3.0],
            "long_factor": [2.0, 4.0, 6.0, 8.0],
            "short_mscale": 1.3,
            "long_mscale": 1.7,
            "original_max_position_embeddings": 16,
        }
    },
    "phimoe:biased": PHIMOE
    | {"attention_bias": True, "lm_head_bias": True, "sliding_window": 5, "router_jitter_noise": 0.3, "head_dim": 12},
    "qwen2_moe:default switches": QWEN2_MOE,
    "qwen2_moe:sliding": QWEN2_MOE | {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 3},
    "qwen2_moe:mixed": QWEN2_MOE
    | MIXED
    | {"use_sliding_window": True, "sliding_window": 5, "mlp_only_layers": [1], "qkv_bias": False}
    | {"norm_topk_prob": True, "head_dim": 12},
    "solar_open:default switches": TOP_2 | SMALL | HEAD | {"n_routed_experts": 8},
    "solar_open:grouped": TOP_2
    | SMALL
    | GROUPS
    | {"n_routed_experts": 8, "n_shared_experts": 2, "attention_bias": True, "norm_topk_prob": False}
    | THETA,
}
