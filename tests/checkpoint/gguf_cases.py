"""Models of each architecture of GGUF files that is read."""

from __future__ import annotations

from typing import Any

import torch

from tests.checkpoint import gguf_models as to
from tests.checkpoint.gguf_models import Architecture, kv_of
from tests.checkpoint.random_models import LLAMA

YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "truncate": False}
YARN |= {"rope_theta": 10_000.0, "beta_fast": 32.0, "beta_slow": 1.0}
SCALED_YARN = {
    "rope.scaling.type": "yarn",
    "rope.scaling.factor": 4.0,
    "rope.scaling.original_context_length": 16,
}
ROTATION = {"rope_type": "default", "rope_theta": 77.0}


def of_experts(config: Any) -> dict[str, Any]:
    return {"expert_feed_forward_length": config.moe_intermediate_size}


def of_mamba(config: Any) -> dict[str, Any]:
    return {
        "context_length": 2**20,
        "feed_forward_length": 0,
        "attention.head_count": 0,
        "attention.layer_norm_rms_epsilon": config.layer_norm_epsilon,
        "attention.layer_norm_epsilon": None,
        "attention.key_length": None,
        "attention.value_length": None,
        "ssm.conv_kernel": config.conv_kernel,
        "ssm.state_size": config.state_size,
    }


def of_mamba1(config: Any) -> dict[str, Any]:
    return of_mamba(config) | {
        "ssm.inner_size": config.intermediate_size,
        "ssm.time_step_rank": config.time_step_rank,
        "ssm.dt_b_c_rms": config.model_type == "falcon_mamba",
    }


def of_mamba2(config: Any) -> dict[str, Any]:
    return of_mamba(config) | {
        "ssm.inner_size": config.num_heads * config.head_dim,
        "ssm.time_step_rank": config.num_heads,
        "ssm.group_count": config.n_groups,
    }


def of_hybrid(config: Any) -> dict[str, Any]:
    """The keys of mixers of Mamba-2 beside attention."""
    d_head = config.mamba_d_head
    return {
        "ssm.conv_kernel": config.mamba_d_conv,
        "ssm.state_size": config.mamba_d_state,
        "ssm.group_count": config.mamba_n_groups,
        "ssm.time_step_rank": config.mamba_n_heads,
        "ssm.inner_size": config.mamba_n_heads * d_head,
    }


def of_granite(config: Any) -> dict[str, Any]:
    return {
        "attention.scale": config.attention_multiplier,
        "embedding_scale": config.embedding_multiplier,
        "residual_scale": config.residual_multiplier,
        "logit_scale": config.logits_scaling,
        "expert_shared_feed_forward_length": getattr(config, "shared_intermediate_size", None),
    }


def of_granite_hybrid(config: Any) -> dict[str, Any]:
    kinds = [{"linear_attention": "mamba"}.get(kind, kind) for kind in config.layer_types]
    return (
        of_granite(config)
        | of_hybrid(config)
        | {
            "attention.head_count_kv": kv_of(kinds, config.num_key_value_heads),
            "rope.scaling.finetuned": config.position_embedding_type == "rope",
            "rope.dimension_count": config.hidden_size // config.num_attention_heads,
        }
    )


def of_jamba(config: Any) -> dict[str, Any]:
    places = [i % config.attn_layer_period == config.attn_layer_offset for i in range(config.num_hidden_layers)]
    return {
        "attention.head_count_kv": [config.num_key_value_heads * place for place in places],
        "ssm.conv_kernel": config.mamba_d_conv,
        "ssm.state_size": config.mamba_d_state,
        "ssm.time_step_rank": config.mamba_dt_rank,
        "ssm.inner_size": config.mamba_expand * config.hidden_size,
    }


def of_nemotron_h(config: Any) -> dict[str, Any]:
    kinds = config.layers_block_type
    width = config.moe_intermediate_size if "moe" in kinds else config.intermediate_size
    keys = {
        "feed_forward_length": [width * (kind in ("moe", "mlp")) for kind in kinds],
        "attention.head_count_kv": kv_of(kinds, config.num_key_value_heads),
        "attention.layer_norm_rms_epsilon": config.layer_norm_epsilon,
        "rope.dimension_count": config.head_dim,
        "ssm.conv_kernel": config.conv_kernel,
        "ssm.state_size": config.ssm_state_size,
        "ssm.group_count": config.n_groups,
        "ssm.time_step_rank": config.mamba_num_heads,
        "ssm.inner_size": config.mamba_num_heads * config.mamba_head_dim,
    }
    experts = {
        "expert_feed_forward_length": config.moe_intermediate_size,
        "expert_shared_feed_forward_length": config.moe_shared_expert_intermediate_size,
        "expert_count": config.n_routed_experts,
        "expert_shared_count": 1,
        "expert_weights_norm": config.norm_topk_prob,
        "expert_weights_scale": config.routed_scaling_factor,
        "moe_latent_size": config.moe_latent_size,
    }
    none = dict.fromkeys(("expert_count", "expert_used_count", "expert_group_count", "expert_group_used_count"))
    return keys | (experts if "moe" in kinds else none)


def of_latent_widths(config: Any) -> dict[str, Any]:
    d_nope, d_rope, rank = config.qk_nope_head_dim, config.qk_rope_head_dim, config.kv_lora_rank
    return {
        "attention.head_count_kv": 1,
        "attention.q_lora_rank": config.q_lora_rank,
        "attention.kv_lora_rank": rank,
        "attention.key_length": rank + d_rope,
        "attention.value_length": rank,
        "attention.key_length_mla": d_nope + d_rope,
        "attention.value_length_mla": config.v_head_dim,
        "rope.dimension_count": d_rope,
    }


def of_latent(config: Any) -> dict[str, Any]:
    rope = config.rope_parameters
    has_experts = bool(getattr(config, "n_routed_experts", 0))
    keys = of_latent_widths(config) | {
        "expert_count": getattr(config, "n_routed_experts", None),
        "expert_feed_forward_length": getattr(config, "moe_intermediate_size", config.intermediate_size),
        "expert_shared_count": getattr(config, "n_shared_experts", 0),
        "leading_dense_block_count": config.first_k_dense_replace if has_experts else config.num_hidden_layers,
        "expert_weights_scale": float(getattr(config, "routed_scaling_factor", 1.0)),
        "expert_weights_norm": bool(getattr(config, "norm_topk_prob", False)) or None,
        "expert_gating_func": (2 if config.model_type == "deepseek_v3" else 1) if has_experts else None,
    }
    if rope["rope_type"] == "yarn":
        keys |= SCALED_YARN | {"rope.scaling.yarn_log_multiplier": 0.1 * rope["mscale_all_dim"]}
    return keys


def of_delta(config: Any) -> dict[str, Any]:
    rope = config.rope_parameters
    d_rope = int(config.head_dim * rope["partial_rotary_factor"])
    keys = {
        "expert_feed_forward_length": getattr(config, "moe_intermediate_size", None),
        "expert_shared_feed_forward_length": getattr(config, "shared_expert_intermediate_size", None),
        "ssm.conv_kernel": config.linear_conv_kernel_dim,
        "ssm.state_size": config.linear_key_head_dim,
        "ssm.group_count": config.linear_num_key_heads,
        "ssm.time_step_rank": config.linear_num_value_heads,
        "ssm.inner_size": config.linear_value_head_dim * config.linear_num_value_heads,
        "full_attention_interval": 2,
        "rope.dimension_count": d_rope,
    }
    sections = {"rope.dimension_sections": [1, 1, 0, 0]} if config.model_type != "qwen3_next" else {}
    return keys | sections


def windowed(config: Any) -> dict[str, Any]:
    return {"attention.sliding_window": config.sliding_window}


# llama.cpp norms the latents, and queries and keys of states, with the epsilon of all norms.
EPS = {"rms_norm_eps": 1e-6}


def of_vision(config: Any) -> dict[str, Any]:
    """The keys of a model that sees, here with no layer that reads images."""
    return {"rope.dimension_sections": [2, 2, 2, 0], "n_deepstack_layers": 0}


def windows(config: Any) -> dict[str, Any]:
    """The window, and which layers have one."""
    return windowed(config) | {
        "attention.sliding_window_pattern": [kind == "sliding_attention" for kind in config.layer_types]
    }


def embedding(config: Any) -> dict[str, Any]:
    """The keys of an encoder."""
    return {"attention.causal": False, "pooling_type": 1, "attention.key_length": None, "attention.value_length": None}


ROTATED_ENCODER = {"vocab_size": 96, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4}
ROTATED_ENCODER |= {"intermediate_size": 56, "max_position_embeddings": 64, "type_vocab_size": 3}


def of_corrected_aliases(config: Any) -> dict[str, Any]:
    """DeepSeek-V3's choice, in EXAONE's words."""
    return {
        "expert_feed_forward_length": config.moe_intermediate_size,
        "expert_count": config.num_experts,
        "expert_shared_count": config.num_shared_experts,
        "expert_weights_scale": float(config.routed_scaling_factor),
        "expert_weights_norm": config.norm_topk_prob,
        "expert_gating_func": 2,
        "leading_dense_block_count": config.mlp_layer_types.count("dense"),
    }


def of_afmoe(name: str, weight: Any, config: Any) -> Any:
    name = name.replace(".expert_bias", ".expert_bias.bias")
    return to.with_split_experts(name, weight, config)


GEMMA4 = {
    "rope_parameters": {
        "full_attention": {"rope_type": "proportional", "rope_theta": 1e6, "partial_rotary_factor": 0.25},
        "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
    }
}


def of_per_layer(config: Any) -> dict[str, Any]:
    return {
        "embedding_length_per_layer_input": config.hidden_size_per_layer_input,
        "attention.shared_kv_layers": config.num_kv_shared_layers,
    }


def of_gemma4(config: Any) -> dict[str, Any]:
    values = config.to_dict()
    of_full = next(iter(values["per_layer_config"].values()))
    values |= {"global_head_dim": of_full["head_dim"]}
    n_own = config.num_hidden_layers - config.num_kv_shared_layers
    wide = [config.intermediate_size * (1 + (index >= n_own)) for index in range(config.num_hidden_layers)]
    full = of_full.get("num_key_value_heads")
    heads = [
        full if full and kind == "full_attention" else values["num_key_value_heads"] for kind in config.layer_types
    ]
    return (
        of_per_layer(config)
        | windows(config)
        | {
            "attention.key_length": values["global_head_dim"],
            "attention.value_length": values["global_head_dim"],
            "attention.key_length_swa": values["head_dim"],
            "attention.value_length_swa": values["head_dim"],
            "feed_forward_length": wide if config.use_double_wide_mlp else config.intermediate_size,
            "attention.head_count_kv": heads,
            "rope.dimension_count": values["global_head_dim"],
            "rope.dimension_count_swa": values["head_dim"],
            "rope.freq_base_swa": 1e4,
            "expert_used_count": getattr(config, "top_k_experts", None),
            "expert_feed_forward_length": config.moe_intermediate_size,
            "final_logit_softcapping": config.final_logit_softcapping,
        }
    )


GEMMA3_THETAS = {"full_attention": 1e6, "sliding_attention": 1e4}


def scaled_logits(config: Any) -> dict[str, Any]:
    return {"logit_scale": config.logit_scale}


def partly_rotated(config: Any) -> dict[str, Any]:
    d_head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return {"rope.dimension_count": int(d_head * config.rope_parameters["partial_rotary_factor"])}


def of_ernie_moe(config: Any) -> dict[str, Any]:
    return {
        "expert_feed_forward_length": config.moe_intermediate_size,
        "expert_shared_feed_forward_length": config.moe_intermediate_size * config.moe_num_shared_experts,
        "expert_count": config.moe_num_experts,
        "expert_used_count": config.moe_k,
        "expert_shared_count": config.moe_num_shared_experts,
        "leading_dense_block_count": config.moe_layer_start_index,
        "interleave_moe_layer_step": config.moe_layer_interval,
    }


def of_falcon(n_kv_heads: int) -> dict[str, Any]:
    d_head = dict.fromkeys(("attention.key_length", "attention.value_length"))
    return d_head | {"context_length": 2048, "feed_forward_length": 128, "attention.head_count_kv": n_kv_heads}


def of_bloom(config: Any) -> dict[str, Any]:
    return {"context_length": 2048, "feed_forward_length": 128}


# The factor is the converter's, which it computes from the lengths.
PHI_LONG = {"type": "longrope", "short_factor": [1.0, 1.5, 2.0, 3.0], "long_factor": [2.0, 4.0, 6.0, 8.0]}
PHI_LONG |= dict.fromkeys(("short_mscale", "long_mscale"), 1.5) | {"original_max_position_embeddings": 256}


def of_corrected(config: Any) -> dict[str, Any]:
    """DeepSeek-V3's choice of experts."""
    return {
        "expert_feed_forward_length": config.moe_intermediate_size,
        "expert_count": config.n_routed_experts,
        "expert_shared_count": config.n_shared_experts,
        "expert_weights_scale": float(config.routed_scaling_factor),
        "expert_weights_norm": config.norm_topk_prob,
        "expert_gating_func": 2,
        "leading_dense_block_count": config.first_k_dense_replace,
    }


def of_mimo(config: Any) -> dict[str, Any]:
    rope, d_head = config.rope_parameters, config.head_dim
    full = [kind == "full_attention" for kind in config.layer_types]
    return windows(config) | {
        "attention.head_count_kv": [config.num_key_value_heads * (2 - is_full) for is_full in full],
        "attention.value_length": config.v_head_dim,
        "attention.value_scale": config.attention_value_scale,
        "expert_count": config.n_routed_experts,
        "expert_feed_forward_length": config.moe_intermediate_size,
        "rope.dimension_count": int(d_head * rope["full_attention"]["partial_rotary_factor"]),
        "rope.freq_base_swa": rope["sliding_attention"]["rope_theta"],
        "nextn_predict_layers": 0,
    }


def of_kimi(config: Any) -> dict[str, Any]:
    return of_latent_widths(config) | {
        "context_length": config.model_max_length,
        "attention.head_count_kv": kv_of(config.layer_types, 1),
        "kda.head_dim": config.linear_head_dim,
        "ssm.conv_kernel": config.linear_conv_kernel_dim,
        "rope.freq_base": 10_000.0,
        "expert_used_count": config.num_experts_per_token,
        "expert_feed_forward_length": config.moe_intermediate_size,
        "expert_shared_count": config.num_shared_experts,
        "leading_dense_block_count": config.mlp_layer_types.count("dense"),
        "expert_weights_scale": config.routed_scaling_factor,
        "expert_gating_func": 2,
    }


def of_glm_dsa(config: Any) -> dict[str, Any]:
    corrected = of_corrected(config) | {"leading_dense_block_count": config.mlp_layer_types.count("dense")}
    return (
        corrected
        | of_latent_widths(config)
        | {
            "attention.indexer.head_count": config.index_n_heads,
            "attention.indexer.key_length": config.index_head_dim,
            "attention.indexer.top_k": config.index_topk,
            "attention.indexer.types": [kind == "full" for kind in config.indexer_types],
            "attention.layer_norm_epsilon": 1e-6,
        }
    )


def of_t5(config: Any) -> dict[str, Any]:
    return {
        "decoder_block_count": getattr(config, "num_decoder_layers", None),
        "context_length": 512,
        "feed_forward_length": config.d_ff,
        "attention.head_count": config.num_heads,
        "attention.key_length": config.d_kv,
        "attention.value_length": config.d_kv,
        "attention.layer_norm_rms_epsilon": config.layer_norm_epsilon,
        "attention.relative_buckets_count": config.relative_attention_num_buckets,
        "decoder_start_token_id": 0,
    }


def of_t5_encoder(config: Any) -> dict[str, Any]:
    """With a key that the converter does not write, without which llama.cpp's embeddings read the tokens before."""
    return of_t5(config) | {"attention.causal": False}


T5 = {"vocab_size": 96, "d_model": 32, "d_kv": 12, "d_ff": 40, "num_heads": 4}
T5 |= {"num_layers": 3, "num_decoder_layers": 2}
NO_DECODER = "its server runs no model of two stacks"
CORRECTED = to.then(to.with_split_experts, to.with_named_correction)


def of_ernie_moe_tensors(name: str, weight: Any, config: Any) -> Any:
    if name.endswith("e_score_correction_bias"):
        return {
            name.replace("gate.moe_statics.e_score_correction_bias", "moe_statics.e_score_correction.bias"): weight[0]
        }
    return to.with_split_experts(name, weight, config)


SMALL_STATES = {"linear_key_head_dim": 8, "linear_value_head_dim": 8, **EPS}
DEEPSEEK_YARN = YARN | {"mscale": 0.9, "mscale_all_dim": 0.9}
del DEEPSEEK_YARN["truncate"]
ARCHITECTURES = [
    Architecture(
        "deepseek_v3",
        "deepseek2",
        {"rope_parameters": DEEPSEEK_YARN, "num_experts_per_tok": 2},
        to.then(to.with_split_experts, to.of_latent),
        of_latent,
    ),
    Architecture(
        "deepseek_v2 grouped",
        "deepseek2",
        {"mlp_bias": False, "attention_bias": False, "rope_parameters": DEEPSEEK_YARN, **EPS},
        to.then(to.with_split_experts, to.of_latent),
        of_latent,
        case="v2",
        not_in_llama_cpp="it chooses groups as DeepSeek-V3 does",
    ),
    Architecture(
        "deepseek_v2 lite",
        "deepseek2",
        {"num_hidden_layers": 27, **EPS},
        to.then(to.with_split_experts, to.of_latent),
        of_latent,
        case="v2 lite",
    ),
    Architecture("youtu default switches", "deepseek2", EPS, to.of_latent, of_latent, case="dense"),
    Architecture(
        "lfm2 plain",
        "lfm2",
        {},
        to.of_mamba_conv,
        lambda config: {
            "attention.head_count_kv": kv_of(config.layer_types, 2),
            "shortconv.l_cache": config.conv_L_cache,
        },
    ),
    Architecture(
        "lfm2_moe plain",
        "lfm2moe",
        {"num_dense_layers": 1},
        to.then(to.of_mamba_conv, to.with_split_experts),
        lambda config: (
            of_experts(config)
            | {
                "attention.head_count_kv": kv_of(config.layer_types, 2),
                "shortconv.l_cache": config.conv_L_cache,
                "leading_dense_block_count": config.num_dense_layers,
                "expert_gating_func": 2,
            }
        ),
    ),
    Architecture("mamba plain", "mamba", {}, to.of_mamba, of_mamba1),
    Architecture("falcon_mamba plain", "mamba", {"mixer_rms_eps": 0.03}, to.of_mamba, of_mamba1, case="falcon"),
    Architecture("mamba2 plain", "mamba2", {"chunk_size": 256}, to.of_mamba2, of_mamba2),
    Architecture("jamba plain", "jamba", {}, to.then(to.of_mamba, to.with_split_experts), of_jamba),
    Architecture(
        "nemotron_h plain",
        "nemotron_h",
        {"hybrid_override_pattern": "M*-*", "chunk_size": 128},
        to.of_nemotron_h,
        of_nemotron_h,
    ),
    Architecture(
        "nemotron_h plain",
        "nemotron_h_moe",
        {"hybrid_override_pattern": "ME*E*", "chunk_size": 128},
        to.of_nemotron_h,
        of_nemotron_h,
    ),
    Architecture(
        "granitemoehybrid plain",
        "granitehybrid",
        {"mamba_chunk_size": 256},
        to.then(to.with_turned_rows, to.of_granite_experts, to.of_mamba2),
        of_granite_hybrid,
    ),
    Architecture(
        "granitemoehybrid plain",
        "granitehybrid",
        {"num_local_experts": 0, "num_experts_per_tok": 0, "shared_intermediate_size": 56, "mamba_chunk_size": 256}
        | {"position_embedding_type": "rope", "tie_word_embeddings": True},
        to.then(to.with_turned_rows, to.of_granite_experts, to.of_mamba2),
        of_granite_hybrid,
        case="dense",
    ),
    Architecture(
        "falcon_h1 multiplied",
        "falcon-h1",
        {"mamba_proj_bias": False, "attention_bias": False, "mlp_bias": False, "mamba_conv_bias": True}
        | {"tie_word_embeddings": False},
        to.of_falcon_h1,
        of_hybrid,
        unequal=("decoder", "embedding", "head"),
    ),
    Architecture(
        "qwen3_next default switches",
        "qwen3next",
        SMALL_STATES,
        to.then(to.with_split_experts, to.of_delta),
        of_delta,
    ),
    Architecture("qwen3_5_text default switches", "qwen35", SMALL_STATES, to.of_tiled_delta, of_delta),
    Architecture(
        "qwen3_5_moe_text default switches",
        "qwen35moe",
        SMALL_STATES,
        to.then(to.with_split_experts, to.of_tiled_delta),
        of_delta,
    ),
    Architecture(
        "granitemoe scaled",
        "granitemoe",
        {"attention_bias": False, "num_local_experts": 5},
        to.then(to.with_turned_rows, to.of_granite_experts),
        of_granite,
    ),
    Architecture(
        "granitemoeshared scaled",
        "granitemoe",
        {"num_local_experts": 5},
        to.then(to.with_turned_rows, to.of_granite_experts),
        of_granite,
        case="shared",
    ),
    Architecture(
        "seed_oss",
        "seed_oss",
        LLAMA | {"head_dim": 10, "attention_out_bias": True},
        not_in_llama_cpp="it does not read the bias of the output",
    ),
    Architecture("gemma", "gemma", LLAMA | {"head_dim": 10}, to.with_one_added),
    Architecture(
        "gemma3_text",
        "gemma3",
        LLAMA | {"num_hidden_layers": 7, "head_dim": 12, "query_pre_attn_scalar": 12, "sliding_window": 6},
        to.with_one_added,
        windowed,
    ),
    Architecture(
        "phi3",
        "phi3",
        LLAMA | {"sliding_window": 6, "pad_token_id": 0},
        keys=windowed,
        not_in_llama_cpp="it does not read the window",
    ),
    Architecture("olmo2", "olmo2", LLAMA),
    Architecture("starcoder2", "starcoder2", LLAMA),
    Architecture(
        "stablelm",
        "stablelm",
        LLAMA | {"partial_rotary_factor": 0.5, "use_qkv_bias": True, "use_parallel_residual": False},
        keys=lambda config: {"rope.dimension_count": 4, "use_parallel_residual": False},
    ),
    Architecture(
        "granite",
        "granite",
        LLAMA
        | {"attention_multiplier": 0.3, "embedding_multiplier": 2.5, "residual_multiplier": 0.7, "logits_scaling": 3.0},
        to.with_turned_rows,
        of_granite,
    ),
    Architecture(
        "qwen2_moe",
        "qwen2moe",
        LLAMA
        | {"num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 24, "norm_topk_prob": False}
        | {"shared_expert_intermediate_size": 20},
        to.with_split_experts,
        lambda config: (
            of_experts(config) | {"expert_shared_feed_forward_length": config.shared_expert_intermediate_size}
        ),
    ),
    Architecture(
        "gpt_oss",
        "gpt-oss",
        LLAMA
        | {"num_local_experts": 6, "num_experts_per_tok": 2, "head_dim": 12, "sliding_window": 6}
        | {"rope_parameters": YARN},
        to.of_gpt_oss,
        lambda config: SCALED_YARN | windowed(config) | {"expert_feed_forward_length": config.intermediate_size},
    ),
    Architecture("arcee plain", "arcee", {}, to.with_turned_rows),
    Architecture("ernie4_5 plain", "ernie4_5"),
    Architecture(
        "smollm3 interval",
        "smollm3",
        {"no_rope_layer_interval": 4, "num_hidden_layers": 5},
        to.with_turned_rows,
    ),
    Architecture(
        "bitnet plain",
        "bitnet",
        {"tie_word_embeddings": True},
        to.of_bitnet,
        not_in_llama_cpp="its feed-forward has another activation",
    ),
    Architecture("hunyuan_v1_dense plain", "hunyuan-dense"),
    Architecture(
        "hunyuan_v1_moe experts",
        "hunyuan-moe",
        {"attention_bias": False},
        to.with_split_experts,
        lambda config: {
            "expert_feed_forward_length": config.intermediate_size,
            "expert_shared_feed_forward_length": config.intermediate_size,
        },
    ),
    Architecture("olmo plain", "olmo", {}, to.with_turned_rows, lambda config: {"attention.layer_norm_epsilon": 1e-5}),
    Architecture(
        "olmo3 mixed",
        "olmo2",
        {"attention_bias": False, "rope_parameters": {"rope_type": "default", "rope_theta": 300.0}},
        keys=lambda config: (
            windowed(config)
            | {"attention.sliding_window_pattern": [kind == "sliding_attention" for kind in config.layer_types]}
        ),
        case="olmo3",
    ),
    Architecture("cohere default switches", "command-r", keys=scaled_logits),
    Architecture(
        "cohere normed queries",
        "command-r",
        keys=scaled_logits,
        case="normed",
        not_in_llama_cpp="it has normed queries from 64 layers on",
    ),
    Architecture(
        "cohere2 pattern",
        "cohere2",
        {"sliding_window_pattern": 4, "num_hidden_layers": 5},
        keys=lambda config: scaled_logits(config) | windowed(config),
    ),
    Architecture("glm", "chatglm", LLAMA | {"pad_token_id": 0, "head_dim": 8}, keys=partly_rotated),
    Architecture("glm4", "glm4", LLAMA | {"pad_token_id": 0, "head_dim": 12}, keys=partly_rotated),
    Architecture("jais2 default switches", "jais2"),
    Architecture("phi", "phi2", LLAMA, keys=partly_rotated),
    Architecture(
        "olmoe clipped",
        "olmoe",
        {"num_key_value_heads": 4},
        to.with_split_experts,
        lambda config: {"attention.clamp_kqv": config.clip_qkv},
        not_in_llama_cpp="it does not clip",
    ),
    Architecture(
        "olmoe default switches", "olmoe", {"num_key_value_heads": 4}, to.with_split_experts, case="unclipped"
    ),
    Architecture(
        "dots1 grouped", "dots1", {"attention_bias": False, "num_key_value_heads": 4}, CORRECTED, of_corrected
    ),
    Architecture(
        "glm4_moe normed",
        "glm4moe",
        {"head_dim": 8, "partial_rotary_factor": 0.5},
        CORRECTED,
        lambda config: of_corrected(config) | partly_rotated(config),
    ),
    Architecture(
        "minimax_m2 partly turned",
        "minimax-m2",
        {},
        CORRECTED,
        lambda config: {
            "rope.dimension_count": config.rotary_dim,
            "expert_feed_forward_length": config.intermediate_size,
            "expert_gating_func": 2,
        },
    ),
    Architecture("ernie4_5_moe default switches", "ernie4_5-moe", {}, of_ernie_moe_tensors, of_ernie_moe),
    Architecture(
        "nemotron default switches",
        "nemotron",
        {},
        to.with_one_added_to_norms,
        lambda config: partly_rotated(config) | {"attention.layer_norm_epsilon": config.norm_eps},
    ),
    Architecture(
        "bloom", "bloom", {}, to.of_bloom, lambda config: {"context_length": 2048, "feed_forward_length": 128}
    ),
    Architecture(
        "mpt",
        "mpt",
        {"vocab_size": 96, "d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 64}
        | {"attn_config": {"alibi_bias_max": 8}},
        keys=lambda config: {
            "context_length": config.max_seq_len,
            "feed_forward_length": 128,
            "attention.max_alibi_bias": 8.0,
            "attention.layer_norm_epsilon": 1e-5,
        },
    ),
    Architecture(
        "gpt_neox", "gptneox", {}, to.of_neox, lambda config: partly_rotated(config) | {"use_parallel_residual": True}
    ),
    Architecture("falcon", "falcon", {}, to.of_neox, lambda config: of_falcon(2)),
    Architecture(
        "falcon one norm",
        "falcon",
        {"vocab_size": 96, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
        | {"multi_query": True, "parallel_attn": True, "bias": False},
        to.of_neox,
        lambda config: of_falcon(1),
        case="7b",
    ),
    Architecture(
        "gpt_bigcode",
        "starcoder",
        {"vocab_size": 96, "n_positions": 64, "n_embd": 32, "n_layer": 2, "n_head": 4} | {"scale_attn_weights": True},
        keys=lambda config: {
            "context_length": 64,
            "feed_forward_length": config.n_inner or 128,
            "attention.head_count_kv": 1,
        },
    ),
    Architecture(
        "dbrx",
        "dbrx",
        {"vocab_size": 96, "d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 64}
        | {"attn_config": {"kv_n_heads": 2, "clip_qkv": 0.5, "rope_theta": 10_000.0}}
        | {"ffn_config": {"ffn_hidden_size": 24, "moe_num_experts": 4, "moe_top_k": 2, "hidden_size": 32}},
        to.of_dbrx,
        lambda config: {
            "context_length": 64,
            "feed_forward_length": 24,
            "attention.head_count_kv": 2,
            "attention.clamp_kqv": 0.5,
            "attention.layer_norm_epsilon": 1e-5,
            "expert_count": 4,
            "expert_used_count": 2,
            "rope.freq_base": 10_000.0,
        },
    ),
    Architecture("qwen2", "qwen2vl", LLAMA, keys=lambda config: {"rope.dimension_sections": [2, 1, 1, 0]}),
    Architecture("qwen3", "qwen3vl", LLAMA | {"head_dim": 12}, keys=of_vision),
    Architecture(
        "qwen3_moe",
        "qwen3vlmoe",
        LLAMA
        | {"num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 24, "norm_topk_prob": True}
        | {"head_dim": 12},
        to.with_split_experts,
        lambda config: of_vision(config) | of_experts(config),
    ),
    Architecture("bert", "bert", {"hidden_act": "gelu"}, to.without_pooler, embedding, class_name="BertModel"),
    Architecture(
        "nomic_bert",
        "nomic-bert",
        ROTATED_ENCODER | {"head_dim": 8, "hidden_act": "silu"},
        to.of_newer_encoder,
        embedding,
        class_name="NomicBertModel",
    ),
    Architecture(
        "jina_embeddings_v3",
        "jina-bert-v3",
        ROTATED_ENCODER,
        to.of_newer_encoder,
        embedding,
        class_name="JinaEmbeddingsV3Model",
    ),
    Architecture(
        "modernbert default switches",
        "modern-bert",
        {},
        to.same,
        lambda config: (
            embedding(config)
            | {
                "attention.layer_norm_epsilon": config.norm_eps,
                "attention.sliding_window": config.local_attention,
                "attention.sliding_window_pattern": 3,
                "rope.freq_base_swa": config.rope_parameters["sliding_attention"]["rope_theta"],
                "attention.layer_norm_rms_epsilon": None,
            }
        ),
        class_name="ModernBertModel",
    ),
    Architecture("eurobert plain", "eurobert", {}, to.under_model, embedding, class_name="EuroBertModel"),
    Architecture(
        "exaone4",
        "exaone4",
        LLAMA | {"head_dim": 12, "num_hidden_layers": 5, "sliding_window": 6},
        keys=windows,
        not_in_llama_cpp="it has windows with 64 layers alone",
    ),
    Architecture(
        "exaone4",
        "exaone4",
        LLAMA | {"head_dim": 8, "sliding_window": None, "layer_types": ["full_attention"] * 3},
        case="global",
    ),
    Architecture(
        "exaone_moe default switches",
        "exaone-moe",
        {},
        CORRECTED,
        lambda config: of_corrected_aliases(config) | windows(config),
    ),
    Architecture(
        "afmoe scaled",
        "afmoe",
        {"attention_bias": False, "layer_types": ["sliding_attention"] * 3 + ["full_attention"], "num_experts": 6},
        of_afmoe,
        lambda config: (
            of_experts(config)
            | windowed(config)
            | {
                "expert_shared_count": config.num_shared_experts,
                "expert_weights_scale": config.route_scale,
                "expert_weights_norm": True,
                "expert_gating_func": 2,
                "leading_dense_block_count": config.num_dense_layers,
            }
        ),
    ),
    Architecture(
        "llama4_text default switches",
        "llama4",
        {"attention_chunk_size": 8192, "floor_scale": 8192, "attn_scale": 0.1, "rms_norm_eps": 1e-5}
        | {"interleave_moe_layer_step": 2},
        to.of_llama4,
        lambda config: {
            "feed_forward_length": config.intermediate_size_mlp,
            "expert_feed_forward_length": config.intermediate_size,
            "interleave_moe_layer_step": 2,
            "leading_dense_block_count": 0,
        },
    ),
    Architecture(
        "gemma4_text per-layer embeddings",
        "gemma4",
        GEMMA4 | {"num_kv_shared_layers": 1},
        to.of_gemma4,
        of_gemma4,
        besides=to.quarter_of_pairs,
    ),
    Architecture(
        "gemma4_text experts", "gemma4", GEMMA4, to.of_gemma4, of_gemma4, case="experts", besides=to.quarter_of_pairs
    ),
    Architecture(
        "gemma3n_text default switches",
        "gemma3n",
        # llama.cpp has these sizes, and these shares of the first layers' gates, for all files.
        {"laurel_rank": 64, "hidden_size_per_layer_input": 256, "activation_sparsity_pattern": [0.95] * 4, **EPS}
        | {"layer_types": ["sliding_attention"] * 2 + ["full_attention"] * 2},
        to.of_gemma3n,
        lambda config: (
            of_per_layer(config)
            | windows(config)
            | {
                "feed_forward_length": config.intermediate_size,
                "altup.active_idx": 0,
                "altup.num_inputs": 4,
                "activation_sparsity_scale": [
                    float(torch.special.ndtri(torch.tensor(share)).clamp(min=-1e9)) if share else float("-inf")
                    for share in config.activation_sparsity_pattern
                ],
                "final_logit_softcapping": config.final_logit_softcapping,
            }
        ),
        not_in_llama_cpp="it divides the squares of n gates by n - 1",
        besides=to.unused_keys,
    ),
    Architecture(
        "gemma3_text both ways",
        "gemma-embedding",
        {"num_hidden_layers": 7, "query_pre_attn_scalar": 12, "sliding_window": 6, "layer_types": None}
        | {"rope_parameters": {kind: ROTATION | {"rope_theta": theta} for kind, theta in GEMMA3_THETAS.items()}},
        to.then(to.with_one_added, to.under_model),
        lambda config: (
            embedding(config)
            | {
                "attention.key_length": config.head_dim,
                "attention.value_length": config.head_dim,
                "attention.sliding_window": 6,
            }
        ),
        class_name="Gemma3TextModel",
        # transformers halves the window when it makes the config, which states it halved from then on.
        unequal=("encoder",),
    ),
    Architecture(
        "ministral3 growing",
        "mistral3",
        {"sliding_window": None, "head_dim": 8},
        to.with_turned_rows,
        lambda config: {
            "rope.scaling.type": "yarn",
            "rope.scaling.factor": 16.0,
            "rope.scaling.original_context_length": 4,
            "rope.scaling.yarn_log_multiplier": config.rope_parameters.get("mscale_all_dim"),
            "attention.temperature_scale": config.rope_parameters["llama_4_scaling_beta"],
        },
    ),
    Architecture(
        "glm4_moe normed",
        "glm4moe",
        {"head_dim": 8, "partial_rotary_factor": 0.5},
        CORRECTED,
        lambda config: (
            of_corrected(config)
            | partly_rotated(config)
            | {"block_count": config.num_hidden_layers + 1, "nextn_predict_layers": 1}
        ),
        case="predicting",
        not_in_llama_cpp="it has more tensors in the layer that predicts further tokens",
        besides=lambda config: {f"blk.{config.num_hidden_layers}.nextn.eh_proj.weight": torch.ones(32, 64)},
    ),
    Architecture(
        "phimoe biased",
        "phimoe",
        {"head_dim": 8, "router_jitter_noise": 0.01, "max_position_embeddings": 2**18, "rope_scaling": PHI_LONG},
        to.with_split_experts,
        lambda config: (
            windowed(config)
            | {
                "attention.key_length": None,
                "rope.dimension_count": config.head_dim,
                "rope.scaling.original_context_length": 256,
                "rope.scaling.attn_factor": 1.5,
            }
        ),
        not_in_llama_cpp="it has RMSNorms, and weighs experts by a softmax",
        besides=to.long_factors,
    ),
    Architecture(
        "phi3",
        "phi3",
        LLAMA | {"sliding_window": None, "pad_token_id": 0},
        keys=lambda config: {"attention.sliding_window": 0},
        case="phi4",
    ),
    Architecture(
        "minicpm3 longrope",
        "minicpm3",
        {"v_head_dim": 8, "max_position_embeddings": 512, "original_max_position_embeddings": 512, **EPS},
        keys=lambda config: {
            "attention.q_lora_rank": config.q_lora_rank,
            "attention.kv_lora_rank": config.kv_lora_rank,
            "attention.key_length": config.qk_nope_head_dim + config.qk_rope_head_dim,
            "attention.value_length": None,
            "rope.dimension_count": config.qk_rope_head_dim,
            "rope.freq_base": None,
        },
        besides=to.long_factors,
    ),
    Architecture("t5", "t5", {"num_layers": 3, "num_decoder_layers": 2}, keys=of_t5, not_in_llama_cpp=NO_DECODER),
    Architecture(
        "t5 gated",
        "t5",
        {"relative_attention_num_buckets": 20},
        to.untied,
        of_t5,
        case="gated",
        unequal=("head",),
        not_in_llama_cpp=NO_DECODER,
    ),
    Architecture("umt5", "t5", T5, keys=of_t5, case="umt5", not_in_llama_cpp=NO_DECODER),
    Architecture("t5", "t5encoder", {"num_layers": 3}, keys=of_t5_encoder, class_name="T5EncoderModel"),
    Architecture("umt5", "t5encoder", T5, keys=of_t5_encoder, class_name="UMT5EncoderModel", case="umt5"),
    Architecture(
        "apertus default switches",
        "apertus",
        {"head_dim": 8},
        to.of_apertus,
        besides=to.llama3_factors,
        model_keys=to.activations,
    ),
    Architecture(
        "apertus default switches",
        "apertus",
        {"rope_parameters": ROTATION},
        to.of_apertus,
        case="unscaled",
        model_keys=to.activations,
    ),
    Architecture(
        "mimo_v2_flash default switches",
        "mimo2",
        {"num_hidden_layers": 7},
        to.then(CORRECTED, to.with_named_sinks),
        of_mimo,
    ),
    Architecture(
        "kimi_linear default switches",
        "kimi-linear",
        {"linear_num_heads": 4, **EPS},
        to.then(to.with_split_experts, to.of_latent, to.of_kimi),
        of_kimi,
    ),
    Architecture(
        "glm_moe_dsa default switches",
        "glm-dsa",
        # llama.cpp rotates queries and keys of the indexer by blocks of 64.
        {
            "indexer_types": ["full", "shared", "full", "shared"],
            "index_head_dim": 64,
            "first_k_dense_replace": 1,
            **EPS,
        },
        to.then(to.with_split_experts, to.of_latent),
        of_glm_dsa,
    ),
    Architecture(
        "glm_moe_dsa every third",
        "glm-dsa",
        EPS,
        to.then(to.with_split_experts, to.of_latent),
        lambda config: of_glm_dsa(config) | {"attention.indexer.types": None},
        case="untyped",
        not_in_llama_cpp="it has indexers in all layers of files without their types",
    ),
    Architecture(
        "llama", "paddleocr", LLAMA | {"head_dim": 12}, keys=lambda config: {"rope.dimension_sections": [2, 2, 2, 0]}
    ),
]
