"""Decoders whose layers have attention or Mamba-2's state space, each before a feed-forward: Bamba, Granite 4 hybrid."""

from typing import Any

from archcalc.hf.config import COUNT, TEXT
from archcalc.hf.families.granite_like import MULTIPLIERS
from archcalc.hf.families.granite_moe_like import GRANITE_MOE, GRANITE_SHARED_TENSORS, GRANITE_TENSORS, granite_experts
from archcalc.hf.families.mamba2_like import (
    LINEAR_OR_FULL,
    MAMBA2_TENSORS,
    MAMBA2_VECTORS,
    STEP_LIMITS,
    WIDTH,
    HeadWidth,
)
from archcalc.hf.families.mamba_like import SILU, mixer_tensors
from archcalc.hf.family import derive
from archcalc.hf.lens import Cases, Choice, Key, NullCases
from archcalc.hf.stack import IndexSchedule, ListSchedule
from archcalc.hf.templates.decoder import BIASED, LAYER, MLP_BIAS, decoder
from archcalc.hf.tensors import fused_modules, module, modules
from archcalc.hf.vocabulary import LLAMA_ATTENTION, activation, flag, keys, rmsnorm, size

BAMBA_HEADS = size("mamba_n_heads", 128)
MIXER: dict[str, Any] = {
    "kind": "mamba2",
    "n_heads": BAMBA_HEADS,
    "d_head": HeadWidth(
        Key("mamba_d_head", WIDTH, "auto"), size("mamba_expand", 2), BAMBA_HEADS, size("hidden_size", 4096)
    ),
    "n_state_groups": size("mamba_n_groups", 1),
    "d_state": size("mamba_d_state", 256),
    "d_conv": size("mamba_d_conv", 4),
    "chunk": size("mamba_chunk_size", 256),
    **STEP_LIMITS,
    "bias": flag("mamba_proj_bias", False),
    "conv_bias": flag("mamba_conv_bias", True),
}
MIXER_TENSORS = mixer_tensors("model.layers.{i}.mamba.", MAMBA2_TENSORS, *MAMBA2_VECTORS)
OUTSIDE = (
    *modules({"embed.tokens": "embed_tokens", "final_norm": "final_layernorm"}, name="model."),
    *module("head", "lm_head"),
)
FEED_FORWARD = modules(
    {"gate": "gate_proj", "up": "up_proj", "down": "down_proj"}, "layers.{i}.ffn.", "model.layers.{i}.feed_forward."
)
NORMS = modules(
    {"attn_norm": "input_layernorm", "mixer_norm": "input_layernorm", "ffn_norm": "pre_ff_layernorm"}, *LAYER
)

BAMBA = decoder(
    "bamba",
    "BambaForCausalLM",
    vocab=128000,
    n_ctx=262144,
    kv=8,
    d_ff=14336,
    norm=rmsnorm(1e-5),
    partial=0.5,
    attention=BIASED,
    ffn={"bias": MLP_BIAS},
    kinds={"attention": {}},
    mixers={"mamba": MIXER | {"norm": rmsnorm(1e-5)}},
    schedule=IndexSchedule("attn_layer_indices", "attention", "mamba"),
    constraints=(SILU,),
    irrelevant=keys("z_loss_coefficient"),
    tensors=(OUTSIDE, LLAMA_ATTENTION, NORMS, FEED_FORWARD, MIXER_TENSORS),
)

N_EXPERTS, SHARED_WIDTH = Key("num_local_experts", COUNT, 8), size("shared_intermediate_size", 1024)
IS_ROTARY = Choice(
    Key("position_embedding_type", TEXT, None, null=None), {"nope": False, None: False, "rope": True}
)
_DENSE = {"kind": "gated", "d_ff": SHARED_WIDTH, "activation": activation("silu")}
GRANITE_MOE_HYBRID = derive(
    GRANITE_MOE,
    "granitemoehybrid",
    "GraniteMoeHybridForCausalLM",
    kinds={"attention": {"position": lambda rope: Cases(IS_ROTARY, {True: rope, False: None})}},
    mixers={"mamba": MIXER | {"norm": rmsnorm(1e-6)}},
    # Without experts, the feed-forward of all tokens is left.
    base_ffn=NullCases(
        N_EXPERTS,
        _DENSE,
        granite_experts(n_shared=1, d_shared=SHARED_WIDTH) | {"n_experts": N_EXPERTS},
        empty=0,
    ),
    schedule=ListSchedule(
        LINEAR_OR_FULL, lambda config, index: "mamba", key="layer_types", aliases=("layers_block_type",)
    ),
    constraints=(SILU,),
    tensors=(
        *GRANITE_TENSORS,
        *GRANITE_SHARED_TENSORS,
        fused_modules(("layers.{i}.ffn.gate", "layers.{i}.ffn.up"), "model.layers.{i}.shared_mlp.input_linear"),
        module("layers.{i}.ffn.down", "model.layers.{i}.shared_mlp.output_linear"),
        module("layers.{i}.mixer_norm", "model.layers.{i}.input_layernorm"),
        MIXER_TENSORS,
    ),
    **MULTIPLIERS,
)

FAMILIES = (BAMBA, GRANITE_MOE_HYBRID)
