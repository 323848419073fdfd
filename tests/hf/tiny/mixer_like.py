"""Decoders with mixers: a layer of each kind at least, convolutions and states that no default has."""

from __future__ import annotations

from typing import Any

from tests.hf.tiny.llama_like import BASE, GROUPED, RMS, THETA

CONV = {"layer_types": ["conv", "full_attention", "conv", "full_attention"], "norm_eps": 0.03, "conv_L_cache": 4}
LFM2_MOE = CONV | {"num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
NEEDS = {"lfm2_moe": {"layer_types": ["conv", "full_attention"] * 16}}
LINEAR = {
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 6,
    "linear_value_head_dim": 10,
    "linear_conv_kernel_dim": 3,
}
HYBRID = {"layer_types": ["linear_attention", "full_attention"] * 2}
QWEN = RMS | LINEAR | HYBRID | {"head_dim": 16}
QWEN_MOE = QWEN | {
    "num_experts": 6,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 24,
    "shared_expert_intermediate_size": 20,
}

INKLING = {
    "vocab_size": 96,
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 12,
    "swa_num_attention_heads": 6,
    "swa_num_key_value_heads": 3,
    "swa_head_dim": 10,
    "sliding_window_size": 5,
    "d_rel": 3,
    "rel_extent": 7,
    "conv_kernel_size": 3,
    "layer_types": ["hybrid", "hybrid_sliding"] * 2,
    "intermediate_size": 40,
    "moe_intermediate_size": 24,
    "n_routed_experts": 6,
    "num_experts_per_tok": 2,
    "rms_norm_eps": 0.03,
    "route_scale": 2.5,
    "logits_mup_width_multiplier": 3.0,
    "max_position_embeddings": 64,
    "bos_token_id": None,
    "eos_token_id": None,
}

INKLING2 = {key: value for key, value in INKLING.items() if key not in ("logits_mup_width_multiplier",)} | {
    "unpadded_vocab_size": 91,
    "num_hidden_layers": 4,
    "layer_types": ["hybrid_sliding", "hybrid", "hybrid_sliding", "hybrid"],
    "log_scaling_n_floor": 4,
    "log_scaling_alpha": 0.7,
    "qk_l2_clip_threshold": 0.4,
    "rel_l2_clip_threshold": 0.2,
    "n_layers_per_attn_res_block": 2,
    "mlp_gate_softcap": 0.3,
    "mlp_up_softcap": 0.5,
    "final_logit_softcapping": 0.8,
}
del INKLING2["intermediate_size"]

MAMBA = {
    "vocab_size": 96,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "state_size": 7,
    "conv_kernel": 3,
    "layer_norm_epsilon": 0.03,
    "pad_token_id": None,
}
MAMBA2 = {"num_heads": 4, "head_dim": 16, "n_groups": 2, "chunk_size": 4}
NEMOTRON = {
    "vocab_size": 96,
    "hidden_size": 32,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 12,
    "hybrid_override_pattern": "ME*-*",
    "intermediate_size": 40,
    "mamba_num_heads": 4,
    "mamba_head_dim": 6,
    "ssm_state_size": 7,
    "n_groups": 2,
    "conv_kernel": 3,
    "chunk_size": 4,
    "n_routed_experts": 6,
    "moe_intermediate_size": 24,
    "moe_shared_expert_intermediate_size": 20,
    "layer_norm_epsilon": 0.03,
}
BAMBA = GROUPED | {
    "rms_norm_eps": 0.03,
    "mamba_n_heads": 4,
    "mamba_n_groups": 2,
    "mamba_d_state": 7,
    "mamba_d_conv": 3,
    "mamba_chunk_size": 4,
}
GRANITE_HYBRID = BAMBA | {
    "num_hidden_layers": 4,
    "layer_types": ["attention", "mamba", "full_attention", "linear_attention"],
    "shared_intermediate_size": 20,
    "num_local_experts": 5,
    "embedding_multiplier": 1.5,
    "residual_multiplier": 0.7,
    "attention_multiplier": 0.4,
    "logits_scaling": 1.3,
}
FALCON_H1 = BAMBA | {"num_hidden_layers": 2, "mamba_d_ssm": 24, "mamba_rms_norm": True}
JAMBA = GROUPED | {
    "rms_norm_eps": 0.03,
    "mamba_d_state": 7,
    "attn_layer_period": 3,
    "attn_layer_offset": 1,
    "num_experts": 5,
    "num_hidden_layers": 5,
}

KDA = BASE | {
    "rms_norm_eps": 0.03,
    "num_key_value_heads": 4,
    "kv_lora_rank": 28,
    "qk_nope_head_dim": 10,
    "qk_rope_head_dim": 6,
    "v_head_dim": 14,
    "num_experts": 8,
    "num_experts_per_token": 3,
    "moe_intermediate_size": 24,
}
KIMI = KDA | {"linear_num_heads": 3, "linear_head_dim": 6, "linear_conv_kernel_dim": 3}
LING = KDA | {"num_expert_group": 4, "topk_group": 2, "head_dim": 6, "layer_group_size": 2}

MINIMAX = RMS | {"num_local_experts": 6, "num_experts_per_tok": 2, "intermediate_size": 24, "block_size": 4}

GRIFFIN = {key: RMS[key] for key in RMS if key != "max_position_embeddings"} | {
    "attention_window_size": 5,
    "block_types": ["recurrent", "attention"],
    "conv1d_width": 3,
}

RWKV = {
    "vocab_size": 96,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "context_length": 64,
    "layer_norm_epsilon": 0.03,
}

LFM3 = GROUPED | {
    "norm_eps": 0.03,
    "head_dim": 12,
    "sliding_window": 5,
    "layer_types": ["conv", "full_attention", "sliding_attention", "full_attention"],
}

HRM = BASE | RMS | {"head_dim": 12}
# transformers rounds the widths of its cache up to multiples of 64.
XLSTM = {
    "vocab_size": 96,
    "hidden_size": 128,
    "num_hidden_layers": 2,
    "num_heads": 4,
    "norm_eps": 0.03,
    "chunk_size": 4,
    "pad_token_id": None,
}

ZAMBA = RMS | {
    "num_hidden_layers": 5,
    "layers_block_type": ["linear_attention", "hybrid", "linear_attention", "hybrid", "hybrid"],
    "num_key_value_heads": 2,
    "mamba_d_state": 7,
    "mamba_d_conv": 3,
    "mamba_dt_rank": 5,
    "use_cache": True,
}

ZAMBA2 = RMS | {
    "num_hidden_layers": 6,
    "layers_block_type": ["hybrid", "linear_attention", "hybrid", "hybrid", "hybrid", "hybrid"],
    "num_key_value_heads": 4,
    "mamba_d_state": 7,
    "mamba_d_conv": 3,
    "mamba_ngroups": 2,
    "n_mamba_heads": 4,
    "chunk_size": 4,
    "time_step_min": 0.7,
    "num_mem_blocks": 2,
    "adapter_rank": 5,
}

CONFIGS: dict[str, dict[str, Any]] = {
    "zamba2:turns": ZAMBA2 | {"use_shared_attention_adapter": True, "use_mem_rope": True, "tie_word_embeddings": True},
    "zamba2:own": ZAMBA2 | {"tie_word_embeddings": False, "add_bias_linear": True, "num_key_value_heads": 2},
    "zamba:tied": ZAMBA | {"tie_word_embeddings": True, "attention_head_dim": 12, "mamba_conv_bias": False},
    "zamba:own": ZAMBA | {"tie_word_embeddings": False, "n_mamba_heads": 4, "mamba_proj_bias": True},
    "zamba:period": RMS | {"num_hidden_layers": 7, "attn_layer_period": 3, "attn_layer_offset": 1, "n_mamba_heads": 1},
    "hrm_text:cycles": HRM | {"num_hidden_layers": 1, "attention_bias": True, "embedding_scale": 3.0},
    "hrm_text:counted": HRM
    | {
        "num_layers_per_stack": 1,
        "num_hidden_layers": 9,
        "H_cycles": 3,
        "L_cycles": 2,
        "L_bp_cycles": [0, 3],
        "prefix_lm": False,
    }
    | {"mlp_bias": True, "tie_word_embeddings": True},
    "bailing_hybrid:default switches": LING,
    "bailing_hybrid:mixed": LING
    | {"kda_safe_gate": False, "linear_head_dim": 5, "linear_num_heads": 3, "linear_conv_kernel_dim": 3}
    | {"first_k_dense_replace": 1, "attention_bias": True, "moe_renormalize": False, "num_shared_experts": 2},
    "bailing_hybrid:bounded": LING | {"kda_lower_bound": -0.7, "routed_scaling_factor": 1.7} | HYBRID | THETA,
    "kimi_linear:default switches": KIMI | HYBRID,
    "kimi_linear:mixed": KIMI
    | HYBRID
    | {"mlp_layer_types": ["sparse", "dense", "dense", "sparse"], "q_lora_rank": 20, "attention_bias": True}
    | {"num_expert_group": 4, "topk_group": 2, "moe_renormalize": False, "routed_scaling_factor": 1.7},
    "kimi_linear:published words": KDA
    | {"first_k_dense_replace": 2}
    | {
        "linear_attn_config": {
            "full_attn_layers": [1, 4],
            "kda_layers": [2, 3],
            "head_dim": 5,
            "num_heads": 2,
            "short_conv_kernel_size": 3,
        }
    },
    "inkling_text:sparse": INKLING | {"n_shared_experts": 3},
    "inkling_text:late": INKLING
    | {"log_scaling_n_floor": 4, "log_scaling_alpha": 0.7, "mlp_layer_types": ["dense", "sparse"] * 2},
    "inkling_text:padded": INKLING | {"unpadded_vocab_size": 91, "mlp_layer_types": ["dense", "sparse"] * 2},
    "inkling2_text:all kinds": INKLING2,
    "inkling2_text:other switches": INKLING2
    | {"n_layers_per_attn_res_block": 3, "scoring_func": "sqrtsoftplus", "log_scaling_n_floor": 100}
    | {"layer_types": ["hybrid", "hybrid_sliding", "hybrid", "hybrid_sliding"], "unpadded_vocab_size": 96},
    "lfm2:plain": GROUPED | CONV | {"block_auto_adjust_ff_dim": False},
    "lfm2_moe:plain": GROUPED | LFM2_MOE,
    "lfm2_moe:other switches": GROUPED
    | LFM2_MOE
    | THETA
    | {"num_dense_layers": 1, "use_expert_bias": False, "norm_topk_prob": False, "routed_scaling_factor": 1.7}
    | {"conv_bias": True, "tie_word_embeddings": False},
    "mamba:plain": MAMBA,
    "mamba:other switches": MAMBA
    | {"use_bias": True, "use_conv_bias": False, "expand": 3, "time_step_rank": 5, "tie_word_embeddings": False},
    "falcon_mamba:plain": MAMBA | {"mixer_rms_eps": 0.2},
    "falcon_mamba:own width": MAMBA | {"intermediate_size": 40, "tie_word_embeddings": False, "use_bias": True},
    "mamba2:plain": MAMBA | MAMBA2 | {"num_hidden_layers": 2},
    "mamba2:other switches": MAMBA
    | MAMBA2
    | {"use_bias": True, "use_conv_bias": False, "expand": 3, "head_dim": 24, "tie_word_embeddings": True}
    | {"num_hidden_layers": 2, "n_groups": 1, "time_step_limit": [0.69, 0.7]},
    "nemotron_h:plain": NEMOTRON,
    "nemotron_h:other switches": NEMOTRON
    | {
        "layers_block_type": ["moe", "linear_attention", "mlp", "full_attention", "attention"],
        "hybrid_override_pattern": None,
    }
    | {"use_bias": True, "use_conv_bias": False, "mlp_bias": True, "moe_latent_size": 10, "n_group": 3, "topk_group": 2}
    | {"norm_topk_prob": False, "routed_scaling_factor": 1.5, "mlp_hidden_act": "silu"},
    "bamba:plain": BAMBA | {"num_hidden_layers": 3, "attn_layer_indices": [0, 2]},
    "bamba:other switches": BAMBA
    | {"num_hidden_layers": 3, "attn_layer_indices": [1, 2], "mamba_expand": 3, "mamba_n_groups": 1}
    | {"attention_bias": True, "mlp_bias": True, "mamba_proj_bias": True, "mamba_conv_bias": False},
    "granitemoehybrid:plain": GRANITE_HYBRID,
    "granitemoehybrid:dense": GRANITE_HYBRID
    | {"num_local_experts": 0, "num_experts_per_tok": 0, "position_embedding_type": "rope", "attention_bias": True}
    | {"tie_word_embeddings": True, "mamba_proj_bias": True, "mamba_conv_bias": False, "mamba_d_head": 16},
    "granitemoehybrid:attention alone": GRANITE_HYBRID | {"layer_types": ["attention"] * 4},
    "falcon_h1:plain": FALCON_H1,
    "falcon_h1:multiplied": FALCON_H1
    | {"mamba_norm_before_gate": False, "mamba_proj_bias": True, "mamba_d_head": 6, "tie_word_embeddings": True}
    | {"attention_bias": True, "mlp_bias": True, "mamba_conv_bias": False}
    | {"attention_in_multiplier": 0.7, "attention_out_multiplier": 1.3, "ssm_in_multiplier": 1.6}
    | {"ssm_out_multiplier": 0.6, "ssm_multipliers": [0.5, 1.5, 0.8, 1.2, 0.9], "mlp_multipliers": [0.4, 1.7]}
    | {"key_multiplier": 0.3, "lm_head_multiplier": 0.2, "embedding_multiplier": 3.0},
    "falcon_h1:gate alone": FALCON_H1 | {"mamba_rms_norm": False, "projectors_bias": True, "mamba_d_ssm": None},
    "jamba:plain": JAMBA,
    "jamba:other switches": JAMBA
    | {"expert_layer_period": 3, "mamba_conv_bias": False, "mamba_proj_bias": True, "mamba_dt_rank": 6},
    "lfm2:biased": GROUPED
    | CONV
    | THETA
    | {"conv_bias": True, "tie_word_embeddings": False, "block_multiple_of": 10, "block_ffn_dim_multiplier": 1.2},
    # transformers saves the joined convolution in three equal parts, so queries and values are equally wide here.
    "lfm3:default switches": LFM3,
    "lfm3:mixed": LFM3
    | {"use_sandwich_norm": False, "use_attention_gate": False, "attention_bias": True, "conv_bias": True}
    | {"conv_L_cache": 3, "tie_word_embeddings": False}
    | {
        "rope_parameters": {
            "sliding_attention": {"rope_type": "default", "rope_theta": 20.0},
            "full_attention": {"rope_type": "proportional", "rope_theta": 300.0, "partial_rotary_factor": 0.34},
        }
    },
    "minimax:default switches": MINIMAX,
    "minimax:mixed": MINIMAX
    | HYBRID
    | THETA
    | {"head_dim": 6, "tie_word_embeddings": True, "block_size": 64}
    | {"full_attn_alpha_factor": 0.7, "full_attn_beta_factor": 1.3, "linear_attn_alpha_factor": 1.1}
    | {"linear_attn_beta_factor": 0.8, "mlp_alpha_factor": 0.9, "mlp_beta_factor": 1.2},
    "olmo_hybrid:default switches": RMS | HYBRID | {"linear_key_head_dim": 6, "linear_value_head_dim": 6},
    "olmo_hybrid:biased": RMS
    | HYBRID
    | LINEAR
    | {"attention_bias": True, "linear_allow_neg_eigval": False, "tie_word_embeddings": True}
    | {"linear_key_head_dim": 20},
    "qwen3_5_moe_text:default switches": QWEN_MOE,
    "qwen3_5_moe_text:biased": QWEN_MOE | {"attention_bias": True, "tie_word_embeddings": True},
    "qwen3_5_text:default switches": QWEN,
    "qwen3_5_text:biased": QWEN
    | {"attention_bias": True, "tie_word_embeddings": True, "layer_types": None, "full_attention_interval": 2}
    | {"linear_num_key_heads": 3, "linear_num_value_heads": 3},
    "recurrent_gemma:default switches": GRIFFIN,
    "recurrent_gemma:mixed": GRIFFIN
    | {"lru_width": 24, "attention_bias": True, "tie_word_embeddings": False, "logits_soft_cap": 2.0}
    | {"block_types": ["attention", "recurrent", "recurrent", "attention"], "hidden_activation": "relu"},
    "rwkv:default switches": RWKV,
    "rwkv:rescaled": RWKV | {"rescale_every": 2, "intermediate_size": 56, "tie_word_embeddings": True},
    "xlstm:plain": XLSTM,
    "xlstm:other switches": XLSTM
    | {"use_bias": True, "gate_soft_cap": 1.5, "output_logit_soft_cap": 2.0, "v_dim_factor": 1.5, "qk_dim_factor": 1.0}
    | {"chunk_size": 16, "ffn_proj_factor": 1.3, "ffn_round_up_to_multiple_of": 10, "eps": 0.01},
    "qwen3_next:default switches": QWEN_MOE,
    "qwen3_next:mixed": QWEN_MOE
    | {"attention_bias": True, "mlp_only_layers": [1, 2], "norm_topk_prob": False, "partial_rotary_factor": 0.5},
}
