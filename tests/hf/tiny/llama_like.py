"""LLaMA-likes: three or four layers, 32 wide, windows of 5, thetas and epsilons that are not the defaults."""

from __future__ import annotations

from typing import Any

BASE = {
    "vocab_size": 96,
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 56,
    "max_position_embeddings": 64,
    "pad_token_id": None,
}
GROUPED = BASE | {"num_key_value_heads": 2}
RMS = GROUPED | {"rms_norm_eps": 0.03}
LAYER = GROUPED | {"layer_norm_eps": 0.03}
THETA = {"rope_parameters": {"rope_type": "default", "rope_theta": 77.0}}
BIASED = {"attention_bias": True, "mlp_bias": True}
MIXED = {"layer_types": ["full_attention", "sliding_attention", "sliding_attention", "full_attention"]}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
# Ropes of their own for each kind of layer.
BY_KIND = {
    "rope_parameters": {
        "full_attention": {"rope_type": "linear", "factor": 4.0, "rope_theta": 300.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 20.0},
    }
}
GEMMA = RMS | {"head_dim": 12, "sliding_window": 5, "query_pre_attn_scalar": 7}
MULTIPLIED = RMS | {
    "embedding_multiplier": 3.0,
    "logits_scaling": 0.4,
    "residual_multiplier": 0.7,
    "attention_multiplier": 0.2,
}
# A context that was stretched, and queries that grow within eleven tokens.
GROWING = {
    "rope_parameters": {
        "rope_type": "yarn",
        "rope_theta": 77.0,
        "factor": 16.0,
        "original_max_position_embeddings": 4,
        "llama_4_scaling_beta": 0.6,
    }
}
GEMMA4 = GROUPED | {"head_dim": 12, "global_head_dim": 16, "sliding_window": 5, "rms_norm_eps": 0.03}
PER_LAYER = {"hidden_size_per_layer_input": 6, "vocab_size_per_layer_input": 96}
GEMMA3N = (
    GROUPED
    | PER_LAYER
    | {"head_dim": 8, "sliding_window": 5, "rms_norm_eps": 0.03, "laurel_rank": 5, "num_kv_shared_layers": 1}
    | {"layer_types": ["sliding_attention", "full_attention"] * 2}
)
GEMMA4_TYPES = {"layer_types": ["sliding_attention", "full_attention", "sliding_attention", "sliding_attention"]}
ALPHA = {"rope_scaling": {"type": "dynamic", "alpha": 50.0, "factor": 1.0}, "rope_theta": 77.0}
MODERN = BASE | {"pad_token_id": 0, "norm_eps": 0.03, "local_attention": 6}

NEEDS = {"cohere_compass_text": {"rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 5e4}}}}

CPMANT = {"vocab_size": 96, "hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": 3, "dim_ff": 56}
CPMANT |= {"dim_head": 10, "prompt_types": 4, "prompt_length": 5, "segment_types": 3, "eps": 0.01}
BUCKETS = {"position_bias_num_buckets": 8, "position_bias_max_distance": 9}

CONFIGS: dict[str, dict[str, Any]] = {
    "cpmant:default": {},
    "cpmant:small": CPMANT,
    "cpmant:near": CPMANT | BUCKETS | {"prompt_types": 3, "segment_types": 7, "tie_word_embeddings": False},
    "llama:partial": RMS | {"partial_rotary_factor": 0.5},
    "llama:dynamic": RMS | {"rope_scaling": {"type": "dynamic", "factor": 2.5}},
    "llama:own heads": RMS | {"head_dim": 20} | THETA,
    "doge:plain": RMS,
    "doge:kept": RMS | BIASED | THETA | {"keep_window_size": 5, "head_dim": 12, "tie_word_embeddings": True},
    "doge:sliding": RMS | {"keep_window_size": 3, "sliding_window": 6, "num_key_value_heads": None},
    "doge:experts": RMS | BIASED | {"is_moe": True, "num_experts": 18, "num_experts_per_tok": 3},
    "diffllama:plain": RMS,
    "diffllama:biased": RMS | BIASED | THETA | {"head_dim": 12, "num_attention_heads": 8, "tie_word_embeddings": True},
    "mistral:layer types": RMS | {"sliding_window": 5} | MIXED,
    "qwen2:own heads": RMS | {"head_dim": 12},
    "qwen2:mixed": RMS | {"use_sliding_window": True, "sliding_window": 5} | MIXED,
    "mixtral:layer types": RMS | {"num_local_experts": 5, "sliding_window": 5} | MIXED,
    "phi:scaled": LAYER | {"rope_parameters": LLAMA3 | {"partial_rotary_factor": 0.5}},
    "gemma2:own caps": GEMMA | {"attn_logit_softcapping": 2.0, "final_logit_softcapping": None},
    "apertus:default switches": RMS,
    "apertus:other activation": RMS | {"hidden_act": "relu2", "attention_bias": True} | THETA,
    "apertus:stretched": RMS | {"tie_word_embeddings": True, "rope_parameters": LLAMA3},
    "bitnet:plain": RMS,
    "bitnet:biased": RMS | {"attention_bias": True, "tie_word_embeddings": True} | THETA,
    "granite:plain": RMS,
    "granite:multiplied": MULTIPLIED | BIASED | THETA,
    "granite_swa:windows": MULTIPLIED | {"sliding_window": 5, "tie_word_embeddings": False},
    "granite_swa:thetas": MULTIPLIED | {"sliding_window": 5, "layer_rope_theta": [20.0, 0, 300.0, 0]} | MIXED | BIASED,
    "hunyuan_v1_dense:plain": RMS | {"head_dim": 8} | THETA,
    "hunyuan_v1_dense:own heads": RMS | {"head_dim": 12, "attention_bias": True, "tie_word_embeddings": True},
    "hunyuan_v1_dense:alpha": RMS | {"head_dim": 8} | ALPHA,
    "hyperclovax:default switches": RMS,
    "hyperclovax:multiplied": MULTIPLIED | BIASED | {"head_dim": 12, "tie_word_embeddings": True} | THETA,
    "hyperclovax:without norms after": MULTIPLIED | {"use_post_norm": False},
    "ministral3:default switches": RMS | {"head_dim": 8},
    "ministral3:growing": RMS | {"head_dim": 12, "sliding_window": 5} | GROWING,
    "nanochat:default switches": BASE | {"rms_norm_eps": 0.03},
    "nanochat:biased": RMS | {"attention_bias": True, "final_logit_softcapping": 2.0} | THETA,
    "nanochat:uncapped": RMS | {"final_logit_softcapping": None, "tie_word_embeddings": True},
    "nemotron:default switches": GROUPED | {"norm_eps": 0.03},
    "nemotron:biased": GROUPED | {"norm_eps": 0.03, "head_dim": 12, "partial_rotary_factor": 0.34} | BIASED,
    "nemotron:odd": GROUPED | {"norm_eps": 0.03, "head_dim": 12, "partial_rotary_factor": 0.25},
    "nemotron:tied": GROUPED | {"tie_word_embeddings": True, "hidden_act": "gelu"} | THETA,
    "modernbert:default switches": MODERN,
    "modernbert:biased": MODERN
    | {"classifier_bias": True, "norm_bias": True, "classifier_activation": "relu", "hidden_activation": "silu"}
    | {"tie_word_embeddings": False, "global_rope_theta": 30.0, "local_rope_theta": 9.0}
    | BIASED,
    "modernbert:unbiased head": MODERN | {"decoder_bias": False, "local_attention": 5, "global_attn_every_n_layers": 2},
    "modernbert:mixed": MODERN
    | {"layer_types": ["sliding_attention", "full_attention", "sliding_attention", "full_attention"]}
    | BY_KIND,
    "modernbert-decoder:default switches": MODERN,
    "modernbert-decoder:biased": MODERN
    | {"classifier_bias": True, "norm_bias": True, "tie_word_embeddings": False, "local_attention": 9}
    | BIASED
    | BY_KIND,
    "modernbert-decoder:mixed": MODERN
    | {"layer_types": ["sliding_attention", "full_attention", "full_attention", "sliding_attention"]}
    | {"decoder_bias": False, "local_rope_theta": 9.0},
    "ultrabert:default switches": RMS | {"sliding_window": 3, "prediction_head_size": 20},
    "ultrabert:biased": RMS
    | {"sliding_window": 2, "prediction_head_size": 20, "head_dim": 12, "tie_word_embeddings": True}
    | BIASED
    | MIXED
    | BY_KIND,
    "ultrabert:older spelling": RMS
    | {"attention_windows": [0, 2, 2, 0], "rope_theta": [300.0, 20.0, 20.0, 300.0], "prediction_head_size": 20},
    "esmc:plain": BASE,
    "esmc:biased": BASE | {"tie_word_embeddings": True} | BIASED | THETA,
    "arcee:plain": RMS,
    "arcee:biased": RMS | BIASED | {"head_dim": 12},
    "cohere:default switches": LAYER | {"logit_scale": 0.3},
    "cohere:untied": LAYER | {"tie_word_embeddings": False, "attention_bias": True} | THETA,
    "cohere:normed queries": LAYER | {"use_qk_norm": True, "logit_scale": 0.3},
    "cohere2:pattern": LAYER | {"sliding_window": 5, "sliding_window_pattern": 2, "logit_scale": 2.0},
    "cohere_compass_text:rotated": LAYER | BY_KIND | {"sliding_window": 5, "logit_scale": 0.3} | MIXED,
    "cohere_compass_text:not rotated": LAYER
    | {"rope_parameters": {"full_attention": None}, "head_dim": 12, "attention_bias": True, "pooling": "mean"}
    | {"tie_word_embeddings": False},
    "cohere2:mixed": LAYER | {"sliding_window": 5, "attention_bias": True} | MIXED,
    "cwm:default switches": RMS | {"head_dim": 12, "sliding_window": 5},
    "cwm:mixed": RMS | {"head_dim": 12, "sliding_window": 5, "mlp_bias": True} | MIXED | {"rope_parameters": LLAMA3},
    "ernie4_5:plain": RMS | {"head_dim": 12},
    "ernie4_5:biased": RMS | {"head_dim": None, "use_bias": True, "tie_word_embeddings": False} | THETA,
    "eurobert:plain": RMS,
    "eurobert:biased": RMS | BIASED | {"tie_word_embeddings": True} | THETA,
    "exaone4:pattern": RMS | {"sliding_window": 5, "sliding_window_pattern": 2},
    "exaone4:global": RMS | {"sliding_window": None, "layer_types": ["full_attention"] * 4},
    "exaone4:mixed": RMS | {"sliding_window": 5} | MIXED | THETA,
    "gemma:plain": RMS | {"head_dim": 12},
    "gemma:older word": RMS | {"head_dim": 12, "hidden_act": "gelu", "attention_bias": True},
    "gemma3_text:pattern": GEMMA | {"sliding_window_pattern": 2} | BY_KIND,
    "gemma3_text:older ropes": GEMMA
    | {"rope_theta": 900.0, "rope_local_base_freq": 30.0, "rope_scaling": {"rope_type": "linear", "factor": 8.0}},
    "gemma3_text:capped": GEMMA | {"attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0} | MIXED,
    "gemma3n_text:default switches": GEMMA3N | {"activation_sparsity_pattern": [0.9, 0.0, 0.6, 0.0]},
    "gemma3n_text:lists": GEMMA3N
    | {"num_hidden_layers": 5, "intermediate_size": [56, 40, 56, 40, 24], "num_kv_shared_layers": 2}
    | {"layer_types": ["sliding_attention", "full_attention"] * 2 + ["full_attention"]}
    | {"altup_num_inputs": 3, "altup_active_idx": 1, "altup_correct_scale": False, "final_logit_softcapping": 2.0}
    | {"attention_bias": True, "vocab_size_per_layer_input": 80, "activation_sparsity_pattern": [0.0] * 5},
    "gemma4_text:per-layer embeddings": GEMMA4
    | {"num_hidden_layers": 5, "num_kv_shared_layers": 2, "use_double_wide_mlp": True, "final_logit_softcapping": 3.0}
    | {"layer_types": ["sliding_attention", "full_attention"] * 2 + ["full_attention"]}
    | PER_LAYER,
    "gemma4_text:experts": GEMMA4
    | GEMMA4_TYPES
    | {"enable_moe_block": True, "num_experts": 5, "top_k_experts": 2, "moe_intermediate_size": 20}
    | {"hidden_size_per_layer_input": 0, "attention_k_eq_v": True, "num_global_key_value_heads": 1},
    "gemma4_text:both": GEMMA4
    | {"num_hidden_layers": 3, "num_kv_shared_layers": 1, "use_bidirectional_attention": "all"}
    | {"layer_types": ["sliding_attention", "full_attention", "full_attention"]}
    | {"enable_moe_block": True, "num_experts": 3, "top_k_experts": 1, "moe_intermediate_size": 12}
    | PER_LAYER,
    "gemma4_text:neither": GEMMA4 | {"num_hidden_layers": 2, "hidden_size_per_layer_input": 0},
    "gemma4_unified_text:small": GEMMA4 | GEMMA4_TYPES,
    "gemma4_unified_text:keys are values": GEMMA4
    | GEMMA4_TYPES
    | {"attention_k_eq_v": True, "num_global_key_value_heads": 1, "attention_bias": True},
    "gemma4_unified_text:shared": GEMMA4
    | {"num_hidden_layers": 5, "num_kv_shared_layers": 2, "use_double_wide_mlp": True, "final_logit_softcapping": 3.0}
    | {"layer_types": ["sliding_attention", "full_attention"] * 2 + ["full_attention"]},
    "gemma4_unified_text:overridden": GEMMA4
    | GEMMA4_TYPES
    | {"per_layer_config": {key: {"head_dim": 8, "num_key_value_heads": 4} for key in ("1", "03")}}
    | {"attention_k_eq_v": True}
    | BY_KIND,
    "gemma4_unified_text:both ways": GEMMA4 | GEMMA4_TYPES | {"use_bidirectional_attention": "all"},
    "gemma3_text:both ways": GEMMA | {"use_bidirectional_attention": True, "sliding_window": 6} | BY_KIND,
    "gemma3_text:both ways, mixed": GEMMA | {"use_bidirectional_attention": True, "sliding_window": 3} | MIXED,
    "glm:default switches": RMS | {"head_dim": 12},
    "glm:unbiased": RMS | {"head_dim": 12, "attention_bias": False, "partial_rotary_factor": 0.34},
    "glm4:default switches": RMS | {"head_dim": 12},
    "helium:plain": RMS | {"head_dim": 8},
    "helium:biased": RMS | {"head_dim": 8} | BIASED | THETA,
    "internlm3:plain": RMS | {"head_dim": 12},
    "internlm3:biased": RMS | {"qkv_bias": True, "bias": True, "head_dim": None},
    "iquestcoder:plain": RMS | {"head_dim": 12} | THETA,
    "jais2:default switches": LAYER,
    "jais2:unbiased": LAYER | {"attention_bias": False, "mlp_bias": False, "head_dim": 12} | THETA,
    "ministral:sliding": RMS | {"sliding_window": 5, "head_dim": 8},
    "ministral:global": RMS | {"layer_types": ["full_attention"] * 4, "head_dim": 8},
    "ministral:mixed": RMS | {"sliding_window": 5, "head_dim": 12} | MIXED | THETA,
    "olmo:plain": GROUPED,
    "olmo:biased": GROUPED | {"attention_bias": True} | THETA,
    "olmo2:plain": RMS,
    "olmo2:biased": RMS | {"attention_bias": True} | THETA,
    "olmo3:pattern": RMS | {"sliding_window": 5},
    "olmo3:mixed": RMS | {"sliding_window": 5, "attention_bias": True} | MIXED | BY_KIND,
    "persimmon:default switches": BASE | {"layer_norm_eps": 0.03},
    "persimmon:no norms": BASE | {"qk_layernorm": False, "partial_rotary_factor": 0.25} | THETA,
    "phi3:plain": RMS | THETA,
    "phi3:partial": RMS | {"partial_rotary_factor": 0.5, "sliding_window": 5, "hidden_size": 48},
    "seed_oss:default switches": RMS | {"head_dim": 12},
    "seed_oss:other biases": RMS | {"attention_bias": False, "attention_out_bias": True, "mlp_bias": True},
    "smollm3:interval": RMS | {"no_rope_layer_interval": 2} | THETA,
    "smollm3:listed": RMS | {"no_rope_layers": [1, 0, 0, 1], "sliding_window": 5, "use_sliding_window": True} | BIASED,
    "smollm3:mixed": RMS | {"no_rope_layers": [0, 1, 0, 1], "sliding_window": 5, "use_sliding_window": True} | MIXED,
    "stablelm:plain": LAYER,
    "stablelm:parallel": LAYER | {"use_parallel_residual": True, "use_qkv_bias": True, "partial_rotary_factor": 0.5},
    "stablelm:normed queries": LAYER | {"qk_layernorm": True},
    "stablelm:normed queries, parallel": LAYER
    | {"qk_layernorm": True, "use_parallel_residual": True, "num_key_value_heads": 1, "partial_rotary_factor": 0.5},
    "starcoder2:default switches": GROUPED | {"norm_epsilon": 0.03},
    "starcoder2:sliding": GROUPED | {"sliding_window": 5, "use_bias": False, "tie_word_embeddings": False} | THETA,
    "vaultgemma:plain": GEMMA,
    "vaultgemma:mixed": GEMMA | {"attn_logit_softcapping": 2.0, "attention_bias": True} | MIXED,
}
