"""Small configs of a model type: the class's own choices with small sizes, for tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from archcalc.errors import InputError
from archcalc.hf import upstream
from archcalc.hf.lens import names

if TYPE_CHECKING:
    from archcalc.hf.family import Family

WIDTH, HEADS, D_HEAD, FFN, EXPERT, LAYERS, VOCABULARY, CONTEXT, WINDOW = 32, 4, 8, 56, 24, 3, 96, 64, 6

# Values of the keys for sizes.
_SIZES: tuple[tuple[int, str], ...] = (
    (VOCABULARY, "vocab_size"),
    (WIDTH, "hidden_size n_embd n_embed d_model dim emb_dim embedding_size word_embed_proj_dim"),
    (HEADS, "num_attention_heads n_head n_heads num_heads encoder_attention_heads decoder_attention_heads"),
    (HEADS // 2, "num_key_value_heads num_kv_heads"),
    (D_HEAD, "head_dim d_kv"),
    (D_HEAD // 2, "rotary_dim"),
    (FFN, "intermediate_size n_inner ffn_dim d_ff encoder_ffn_dim decoder_ffn_dim hidden_dim ffn_hidden_size"),
    (EXPERT, "moe_intermediate_size expert_ffn_hidden_size shared_expert_intermediate_size d_expert"),
    (LAYERS, "num_hidden_layers n_layer n_layers num_layers encoder_layers decoder_layers num_decoder_layers"),
    (CONTEXT, "max_position_embeddings n_positions n_ctx max_seq_len original_max_position_embeddings"),
    (WINDOW, "sliding_window window_size local_attention"),
)
_OTHER_VALUES = {
    # Experts.
    "num_experts": 8,
    "num_local_experts": 8,
    "n_routed_experts": 8,
    "num_experts_per_tok": 2,
    "n_shared_experts": 1,
    "moe_topk": 2,
    "n_group": 4,
    "topk_group": 2,
    "first_k_dense_replace": 1,
    # None without weights, since FLOPs depend on the tokens that choose these.
    "zero_expert_num": 0,
    # Latent attention.
    "q_lora_rank": 20,
    "kv_lora_rank": 28,
    "qk_nope_head_dim": 10,
    "qk_rope_head_dim": 6,
    "v_head_dim": 14,
    # Linear attention: of equal widths, since transformers saves OLMo Hybrid's joined convolution in equal parts.
    "linear_key_head_dim": 10,
    "linear_value_head_dim": 10,
    # State spaces: heads together as wide as `expand` says.
    "expand": 1,
    "mamba_n_heads": 4,
    "mamba_num_heads": 4,
    "mamba_head_dim": 8,
    "mamba_d_ssm": 32,
    "n_groups": 2,
    "ssm_state_size": 8,
    "mamba_d_state": 8,
    "mamba_chunk_size": 4,
    "moe_shared_expert_intermediate_size": 24,
    "shared_intermediate_size": 24,
    # Keys and values of earlier layers: three layers are too few to share them.
    "num_kv_shared_layers": 0,
    # Indexers and chunks.
    "index_n_heads": 12,
    "index_head_dim": 10,
    "index_topk": 4,
    "attention_chunk_size": 4,
    "floor_scale": 3,
    # MRA: all blocks of 32 tokens in a row.
    "block_per_row": CONTEXT // 32,
    # Nyströmformer: as many landmarks as tokens.
    "num_landmarks": CONTEXT,
    "segment_means_seq_len": CONTEXT,
    # Bottlenecks.
    "intra_bottleneck_size": 20,
    # Soft prompts.
    "prompt_length": 5,
    "dim_head": D_HEAD,
    "dim_ff": FFN,
    # Special tokens: inside the vocabulary, and not among those that tests draw.
    "pad_token_id": 1,
    "bos_token_id": 2,
    "eos_token_id": 3,
    "decoder_start_token_id": 2,
    "mask_token_id": 4,
    "query_pre_attn_scalar": D_HEAD,
}
# What is taken where a class does not allow the small value.
_OTHER_CHOICES = {"num_key_value_heads": HEADS, "embedding_size": WIDTH // 2}
_OPTIONAL = {
    "vocab_size",
    "head_dim",
    "num_key_value_heads",
    "n_routed_experts",
    "num_experts_per_tok",
    "n_shared_experts",
}
TOKENS = ("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id")
SMALL: dict[str, int] = {name: size for size, names in _SIZES for name in names.split()} | _OTHER_VALUES


def small_config(family: Family) -> dict[str, Any]:
    """Return a config of a family in which every size that its class has by default is small.

    It always states a vocabulary, and the sizes that the family reads and some classes leave out by default.
    """
    defaults = upstream.keys(family.model_type)
    sizes = {
        name: value
        for name, value in SMALL.items()
        if name in {*TOKENS, *complete_config(family)}
        or any(type(default) is int for default in defaults.get(name, ()))
    }
    if "kv_lora_rank" in sizes:  # Latent attention has a key for each head, and other names for widths.
        sizes = {name: value for name, value in sizes.items() if name not in ("num_key_value_heads", "head_dim")}
        sizes |= {name: HEADS for name in ("num_key_value_heads",) if name in defaults}
        sizes |= {name: SMALL["qk_rope_head_dim"] for name in ("head_dim",) if name in names(family.template)}
    if "attention_types" in defaults:  # By default this key lists every layer.
        sizes = {name: value for name, value in sizes.items() if value != LAYERS}
    config = complete_config(family) | sizes | dict(family.small)
    config |= {name: config.get(name, {}) | nested for name, nested in _nested_sizes(defaults).items()}
    if "layer_types" in config:
        config["layer_types"] = config["layer_types"][:LAYERS]
    try:
        family.document(config)
    except InputError as error:
        if error.where == "intermediate_size":  # another name of the experts' width
            return {name: value for name, value in config.items() if name != "intermediate_size"}
        if error.where not in _OTHER_CHOICES:
            raise
        return config | {error.where: _OTHER_CHOICES[error.where]}
    return config


def _nested_sizes(defaults: Mapping[str, list[Any]]) -> dict[str, dict[str, int]]:
    """Return the small sizes of configs within the config: those of two stacks."""
    nested = {name: value for name, values in defaults.items() for value in values if isinstance(value, dict)}
    return {
        name: {key: SMALL[key] for key, size in value.items() if key in SMALL and type(size) is int}
        for name, value in nested.items()
        if "hidden_size" in value
    }


def complete_config(family: Family) -> dict[str, Any]:
    """Return the default config of a family, with the sizes that its class needs and leaves out."""
    defaults = upstream.keys(family.model_type)
    missing = {name: SMALL[name] for name in _OPTIONAL & family.keys if defaults.get(name) == [None]}
    heads, width = (defaults.get(name, [None])[0] for name in ("num_attention_heads", "hidden_size"))
    if heads and width:
        implied = {"head_dim": width // heads, "num_key_value_heads": heads}
        missing |= {name: value for name, value in implied.items() if name in missing}
    return {"model_type": family.model_type} | missing | dict(family.needs)
