"""Latent attention: four layers, 32 wide, ranks and head widths that are told apart."""

from __future__ import annotations

from typing import Any

from tests.hf.tiny.llama_like import BASE, THETA
from tests.hf.tiny.moe_like import FEEDS, GROUPS, SMALL

RMS = BASE | {"rms_norm_eps": 0.03, "num_key_value_heads": 4}
LATENT = {"q_lora_rank": 20, "kv_lora_rank": 28, "qk_nope_head_dim": 10, "qk_rope_head_dim": 6, "v_head_dim": 14}
EXPERTS = SMALL | {"n_routed_experts": 8, "num_experts_per_tok": 3}
YARN = {
    "rope_parameters": {
        "rope_type": "yarn",
        "rope_theta": 500.0,
        "factor": 4.0,
        "original_max_position_embeddings": 16,
        "mscale": 0.7,
        "mscale_all_dim": 0.9,
    }
}
STRAIGHT = {"q_lora_rank": None, "rope_interleave": False, "attention_bias": True}
V2 = RMS | LATENT | EXPERTS
INDEXER = {"index_n_heads": 12, "index_head_dim": 10, "index_topk": 4}
DSA = RMS | LATENT | EXPERTS | GROUPS | INDEXER
CONNECTED = {"hc_mult": 3, "hc_magnitude": 0.7, "hc_eps": 0.02, "swiglu_limit": 0.3, "routed_scaling_factor": 1.7}
V4 = (
    {key: value for key, value in RMS.items() if key not in ("intermediate_size", "num_key_value_heads")}
    | {"head_dim": 16, "q_lora_rank": 20, "moe_intermediate_size": 24, "n_routed_experts": 8, "num_experts_per_tok": 3}
    | {"sliding_window": 5, "o_groups": 2, "o_lora_rank": 6, "index_n_heads": 12, "index_head_dim": 10, "index_topk": 2}
    | {"compress_rates": {"compressed_sparse_attention": 2, "heavily_compressed_attention": 3}, "num_hash_layers": 1}
)
V4_KINDS = {
    "layer_types": [f"{kind}_attention" for kind in ("compressed_sparse", "heavily_compressed", "sliding")]
    + ["compressed_sparse_attention"],
    "mlp_layer_types": ["moe", "hash_moe", "moe", "hash_moe"],
    "mlp_bias": True,
    "hc_mult": 3,
    "hc_sinkhorn_iters": 2,
    "hc_eps": 0.03,
    "swiglu_limit": 0.3,
    "partial_rotary_factor": 0.25,
    "routed_scaling_factor": 0.7,
}
V4_YARN = {
    "rope_parameters": {
        "main": {"rope_type": "default", "rope_theta": 500.0, "partial_rotary_factor": 0.25},
        "compress": {"rope_type": "yarn", "rope_theta": 700.0, "factor": 4.0, "partial_rotary_factor": 0.25}
        | {"original_max_position_embeddings": 16, "attention_factor": 0.8},
    }
}
SHORTCUT = (
    {key: value for key, value in (RMS | LATENT).items() if key not in ("num_hidden_layers", "intermediate_size")}
    | {"num_layers": 2, "ffn_hidden_size": 44, "expert_ffn_hidden_size": 10, "moe_topk": 3, "n_routed_experts": 5}
    | {"zero_expert_num": 4, "head_dim": 6}
)
SWA = {f"swa_{name}": 2 * size for name, size in LATENT.items()} | {
    "swa_num_attention_heads": 3,
    "swa_num_key_value_heads": 3,
    "swa_head_dim": 32,
}
NOTE = RMS | LATENT | EXPERTS | INDEXER | {"shared_experts_intermediate_size": 11, "head_dim": 6}
NOTE_TYPES = {
    "layer_types": ["indexed_attention", "sliding_attention", "full_attention", "sliding_attention"],
    "sliding_window": 3,
}
NEEDS = {"deepseek_v2": {"num_experts_per_tok": 6}}

CONFIGS: dict[str, dict[str, Any]] = {
    "axk1:default switches": RMS | LATENT | EXPERTS | {"n_group": 4, "topk_group": 2},
    "axk1:mixed": RMS | LATENT | EXPERTS | FEEDS | GROUPS | {"rope_interleave": False, "attention_bias": True} | YARN,
    "axk1:older words": RMS | LATENT | EXPERTS | GROUPS | {"first_k_dense_replace": 1, "moe_layer_freq": 2},
    "axk2:default switches": RMS | LATENT | EXPERTS | INDEXER | {"gated_norm_rank": 3},
    "axk2:mixed": DSA
    | FEEDS
    | YARN
    | {"gated_norm_rank": 5, "attention_bias": True, "n_shared_experts": 2, "norm_topk_prob": False}
    | {"routed_scaling_factor": 1.7, "tie_word_embeddings": True},
    "axk2:older words": RMS | LATENT | EXPERTS | INDEXER | {"first_k_dense_replace": 2, "moe_layer_freq": 3} | THETA,
    "deepseek_v2:default switches": V2,
    "deepseek_v2:grouped": V2
    | {"topk_method": "group_limited_greedy", "n_group": 4, "topk_group": 2, "routed_scaling_factor": 1.7}
    | {"first_k_dense_replace": 2, "n_shared_experts": 1, "mlp_bias": True, "attention_bias": True}
    | YARN,
    "deepseek_v2:lite": V2 | {"q_lora_rank": None, "topk_method": "greedy", "n_group": 1, "topk_group": 1} | THETA,
    "deepseek_v4:default switches": V4,
    "deepseek_v4:all kinds": V4 | V4_KINDS | V4_YARN,
    "deepseek_v4:older words": V4
    | {"compress_ratios": [0, 4, 128, 4, 0], "num_hash_layers": 1, "compress_rate_csa": 2, "compress_rate_hca": 3}
    | {"qk_rope_head_dim": 4, "rope_theta": 500.0, "compress_rope_theta": 900.0, "scoring_func": "sigmoid"}
    | {"rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}},
    "deepseek_v32:default switches": RMS | LATENT | EXPERTS | INDEXER | {"n_group": 4, "topk_group": 2},
    "deepseek_v32:mixed": DSA | FEEDS | YARN | {"attention_bias": True, "n_shared_experts": 2, "index_topk": 1},
    "dots3_note_text:default switches": NOTE | SWA | {"n_group": 4, "topk_group": 2},
    "dots3_note_text:mixed": NOTE
    | SWA
    | NOTE_TYPES
    | FEEDS
    | GROUPS
    | {"use_dsa": None, "attention_bias": True, "n_shared_experts": 2, "norm_topk_prob": False}
    | {
        "rope_parameters": {
            "indexed_attention": {"rope_type": "default", "rope_theta": 300.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 20.0},
            "full_attention": {"rope_type": "default", "rope_theta": 70.0},
        }
    },
    "dots3_note_text:older words": NOTE
    | SWA
    | {
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        "sliding_window_size": 2,
        "moe_layer_freq": [0, 1, 0, 1],
    }
    | {"rope_theta": 300.0, "swa_rope_theta": 20.0, "tie_word_embeddings": True},
    "dots3_note_text:overrides": NOTE
    | NOTE_TYPES
    | {
        "per_layer_config": {
            index: {"num_attention_heads": 3, "num_key_value_heads": 3, "kv_lora_rank": 9} for index in ("01", "3")
        }
    }
    | {"head_dim": 16},
    "dots3_note_text:without an indexer": NOTE | SWA | {"use_dsa": False, "use_sliding_window": False},
    "glm_moe_dsa:default switches": RMS | LATENT | EXPERTS | INDEXER | {"n_group": 1, "topk_group": 1},
    "glm_moe_dsa:shared": DSA | FEEDS | {"indexer_types": ["full", "shared", "shared", "full"], "attention_bias": True},
    "glm_moe_dsa:every third": DSA | {"index_topk_freq": 3, "first_k_dense_replace": 1} | THETA,
    "hy_v4:default switches": RMS | LATENT | EXPERTS | INDEXER,
    "hy_v4:mixed": DSA
    | FEEDS
    | CONNECTED
    | {"indexer_types": ["full", "shared", "full", "shared"], "attention_bias": True, "tie_word_embeddings": True},
    "hy_v4:dense": DSA
    | YARN
    | {"mlp_layer_types": ["sparse", "dense", "dense", "sparse"], "hc_mult": 1, "hc_eps": 0.0, "hidden_act": "gelu"}
    | {"norm_topk_prob": False, "n_shared_experts": 2, "swiglu_limit": 0.01},
    "glm4_moe_lite:default switches": RMS | LATENT | EXPERTS,
    "glm4_moe_lite:mixed": RMS | LATENT | EXPERTS | FEEDS | GROUPS | STRAIGHT | {"n_shared_experts": 2} | YARN,
    "longcat_flash:default switches": SHORTCUT,
    "longcat_flash:mixed": SHORTCUT
    | {"attention_bias": True, "zero_expert_num": 0, "routed_scaling_factor": 1.7, "tie_word_embeddings": True}
    | YARN,
    "minicpm3:default switches": RMS | LATENT,
    "minicpm3:longrope": RMS
    | LATENT
    | {
        "rope_scaling": {"type": "longrope", "short_factor": [1.0, 1.5, 3.0], "long_factor": [2.0, 4.0, 8.0]},
        "original_max_position_embeddings": 16,
    },
    "minicpm3:scaled": RMS
    | LATENT
    | {"scale_emb": 3.0, "scale_depth": 0.7, "dim_model_base": 20, "v_head_dim": None, "q_lora_rank": None}
    | {"mlp_bias": True, "attention_bias": True, "tie_word_embeddings": False}
    | THETA,
    "minicpm3:unscaled": RMS | LATENT | {"scale_depth": None, "dim_model_base": None},
    "youtu:default switches": RMS | LATENT,
    "youtu:straight": RMS | LATENT | STRAIGHT | {"tie_word_embeddings": False} | THETA,
}
