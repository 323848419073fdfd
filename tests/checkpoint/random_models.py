"""Tiny random models of transformers, saved as they save them."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import torch
import transformers
from transformers.models.mpt.modeling_mpt import build_mpt_alibi_tensor
from transformers.models.mra import modeling_mra
from transformers.models.nllb_moe.modeling_nllb_moe import NllbMoeExperts

from archcalc.hf import family_of
from tests.hf.tiny import TINY

SMALL = {"vocab_size": 96, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4}
LLAMA = SMALL | {"intermediate_size": 56, "max_position_embeddings": 64, "num_key_value_heads": 2}
EXPERTS = {"num_experts_per_tok": 2, "moe_intermediate_size": 24}
LATENT = {"q_lora_rank": 20, "kv_lora_rank": 28, "qk_nope_head_dim": 10, "qk_rope_head_dim": 6, "v_head_dim": 14}
GROUPS = {"n_routed_experts": 8, "n_group": 4, "topk_group": 2, "first_k_dense_replace": 1, "num_key_value_heads": 4}
CONFIGS: dict[str, dict[str, Any]] = {
    "gpt2": {"vocab_size": 96, "n_positions": 48, "n_embd": 32, "n_layer": 3, "n_head": 4},
    "llama": LLAMA,
    "llama biased and tied": LLAMA | {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True},
    "mistral": LLAMA | {"sliding_window": 6},
    "mixtral": LLAMA | {"num_local_experts": 5, "num_experts_per_tok": 3},
    "qwen2": LLAMA,
    "qwen3": LLAMA | {"head_dim": 10},
    "qwen3_moe": LLAMA | EXPERTS | {"num_experts": 6, "head_dim": 10, "norm_topk_prob": True},
    "gemma2": LLAMA | {"head_dim": 12, "query_pre_attn_scalar": 12, "sliding_window": 6},
    "deepseek_v3": LLAMA | EXPERTS | LATENT | GROUPS,
    "gpt_oss": LLAMA | {"num_local_experts": 6, "num_experts_per_tok": 2, "head_dim": 12},
    "gpt_neox": SMALL | {"intermediate_size": 56, "max_position_embeddings": 64, "rotary_pct": 0.5},
    "phi": LLAMA,
    "opt": SMALL | {"ffn_dim": 40, "max_position_embeddings": 64, "word_embed_proj_dim": 20},
    "bloom": {"vocab_size": 96, "hidden_size": 32, "n_layer": 2, "n_head": 4},
    "falcon": SMALL | {"new_decoder_architecture": True, "num_kv_heads": 2},
    "falcon with ALiBi": SMALL | {"multi_query": False, "alibi": True, "bias": True},
    "gpt_neox in series": SMALL | {"intermediate_size": 56, "use_parallel_residual": False},
    "opt untied": SMALL | {"ffn_dim": 40, "word_embed_proj_dim": 20, "tie_word_embeddings": False},
    "opt with norms after": SMALL | {"ffn_dim": 40, "do_layer_norm_before": False, "word_embed_proj_dim": 20},
    "phi with normed queries": LLAMA | {"qk_layernorm": True},
    "t5": {"vocab_size": 96, "d_model": 32, "d_kv": 12, "d_ff": 40, "num_layers": 2, "num_heads": 4},
    "t5 gated": {"vocab_size": 96, "d_model": 32, "d_kv": 12, "d_ff": 40, "num_layers": 2, "num_heads": 4}
    | {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
    "mt5": {"vocab_size": 96, "d_model": 32, "d_kv": 12, "d_ff": 40, "num_layers": 2, "num_heads": 4},
    "marian": {"vocab_size": 96, "d_model": 32, "encoder_layers": 3, "decoder_layers": 2, "pad_token_id": 0}
    | {"encoder_attention_heads": 4, "decoder_attention_heads": 8, "encoder_ffn_dim": 40, "decoder_ffn_dim": 56}
    | {"max_position_embeddings": 64, "scale_embedding": True},
    **{
        name.replace(":", " ", 1).removesuffix(" small"): config
        for name, config in TINY.items()
        if not name.endswith(":default")
    },
}
# Falcon's eager attention of transformers 5.23 adds ALiBi twice: in the mask, and beside it.
FUSED = ("falcon with ALiBi",)
# What is not trained: tables of positions, and frequencies.
FIXED = {
    "marian": ("embed_positions",),
    "pegasus": ("embed_positions",),
    "fsmt": ("embed_positions",),
    "roformer": ("embed_positions",),
    "esm": ("inv_freq",),
    "mra": ("position_ids",),
    "minimax": ("slope_rate", "query_decay", "key_decay", "diagonal_decay"),
}


def each_expert(experts: NllbMoeExperts, x: torch.Tensor, mask: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """All experts by their weights, as in the paper; the class of transformers 5.23 runs its first two alone."""
    outputs = torch.stack([experts[f"expert_{i}"](x) for i in range(experts.num_experts)], 1)
    return (outputs * weights.unsqueeze(-1)).sum(1) * (1 - experts.moe_token_dropout)


def own_scores(module: Any, inputs: Any, scores: torch.Tensor) -> torch.Tensor:
    """Two lists of each token's own scores; the class of transformers 5.23 takes them from all tokens of a pass."""
    return torch.stack(scores.chunk(2, -1)).view_as(scores)


MRA_KERNEL = modeling_mra.mra2_attention


def all_blocks(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor, *_: Any, **__: Any
) -> torch.Tensor:
    """What MRA's kernel computes if no block is left out; without it, the class of transformers 5.23 gives zeros."""
    return torch.nn.functional.scaled_dot_product_attention(q, k, v)


def random_model(name: str, class_name: str | None = None, **more: Any) -> Any:
    """A model of transformers in fp32, every weight and stored buffer random, its kernels eager.

    The class is by default the family's first.
    """
    model_type = name.split(" ")[0]
    own = CONFIGS.get(name, {}) if more else CONFIGS[name]  # no size of the class's own: these are billions
    # transformers writes into the mappings that it is given.
    config = transformers.AutoConfig.for_model(model_type, **(copy.deepcopy(own) | more))
    config._attn_implementation = "sdpa" if name in FUSED else "eager"
    config._experts_implementation = "eager"
    torch.manual_seed(1)
    family = family_of(model_type).form(own)
    model = getattr(transformers, class_name or family.classes[0])(config).eval()
    if model_type == "mpt":
        # The class of transformers 5.23 leaves `alibi_bias_max` unread.
        slopes = config.attn_config.alibi_bias_max
        getattr(model, "transformer", model).build_mpt_alibi_tensor = partial(
            build_mpt_alibi_tensor, alibi_bias_max=slopes
        )
    if model_type == "doge" and config.is_moe:
        for layer in model.model.layers:
            layer.mlp.router_gate.register_forward_hook(own_scores)
    if model_type == "mra":
        modeling_mra.mra2_attention = all_blocks
    if model_type == "nllb-moe":
        for experts in (module for module in model.modules() if isinstance(module, NllbMoeExperts)):
            experts.forward = partial(each_expert, experts)
    with torch.no_grad():
        for key, tensor in model.state_dict().items():
            if not any(word in key for word in FIXED.get(model_type, ())):
                _randomize(tensor, config)
    return model


def _randomize(tensor: torch.Tensor, config: Any) -> None:
    """Draw a tensor's values; integers are different experts for each token."""
    if tensor.is_floating_point():
        tensor.normal_(std=0.3)
    else:
        tensor.copy_(torch.rand(len(tensor), config.n_routed_experts).argsort(-1)[:, : tensor.shape[1]])
