"""MiniMax-M3's text model, with full attention in every layer."""

from __future__ import annotations

from archcalc.hf.config import INDICES, Config
from archcalc.hf.families.moe_like import CORRECTED, experts, layers_that
from archcalc.hf.lens import Constraint, Key
from archcalc.hf.spellings import TIED_EXPERTS
from archcalc.hf.stack import CombinedSchedule, ListSchedule
from archcalc.hf.templates.decoder import GATE_UP, cross_product, decoder
from archcalc.hf.tensors import fused_modules, module
from archcalc.hf.vocabulary import (
    CORRECTION,
    LLAMA_ATTENTION,
    LLAMA_EXPERTS,
    LLAMA_NORMS,
    LLAMA_OUTSIDE,
    QK_NORMS,
    keys,
    layers,
    positive,
    rmsnorm,
    size,
)

DEPTH = layers(60)
CLAMPED = {
    "kind": "clamped_swish",
    "limit": positive("swiglu_limit", 7.0),
    "alpha": positive("swiglu_alpha", 1.702),
}
# The older words for which layers are mixtures: 1 for each that is.
SPARSE = Key("moe_layer_freq", INDICES, None, null=None)


def is_dense(config: Config, index: int) -> bool:
    """Return whether the older list says that a layer is dense."""
    sparse = SPARSE.read(config)
    if sparse is not None and len(sparse) != DEPTH.read(config):
        raise config.error(SPARSE.name, f"{len(sparse)} numbers", f"{DEPTH.read(config)}, one for each layer")
    return sparse is not None and not sparse[index]


SHARED, THEIR_SHARED = "layers.{i}.ffn.shared", "model.layers.{i}.mlp.shared_experts"
MINIMAX_M3 = decoder(
    "minimax_m3_vl_text",
    "MiniMaxM3VLForCausalLM",
    vocab=200064,
    n_ctx=524288,
    width=6144,
    depth=DEPTH,
    heads=64,
    kv=4,
    d_head=size("head_dim", 128),
    norm=rmsnorm(1e-6, unit_offset=True),
    theta=5_000_000.0,
    partial=1.0,
    attention={"qk_norm": "head"},
    schedule=CombinedSchedule(
        # Layers with an indexer of blocks are not read.
        ListSchedule({"full_attention": "full"}, lambda config, index: "full"),
        layers_that(is_dense, SPARSE),
    ),
    **cross_product(
        {"full": {}},
        {
            "dense": {"kind": "gated", "d_ff": size("dense_intermediate_size", 12288), "activation": CLAMPED},
            "moe": experts(
                size("num_local_experts", 128, aliases=("num_experts",)),
                size("num_experts_per_tok", 4),
                size("intermediate_size", 3072),
                **CORRECTED,
                normalize=True,
                scale=positive("routed_scaling_factor", 2.0),
                n_shared=1,
                d_shared=size("shared_intermediate_size", 3072),
            )
            | {"activation": CLAMPED},
        },
    ),
    tensors=(
        LLAMA_OUTSIDE,
        LLAMA_ATTENTION,
        QK_NORMS,
        LLAMA_NORMS,
        GATE_UP,
        LLAMA_EXPERTS,
        fused_modules((f"{SHARED}.gate", f"{SHARED}.up"), f"{THEIR_SHARED}.gate_up_proj"),
        module(f"{SHARED}.down", f"{THEIR_SHARED}.down_proj"),
        CORRECTION,
    ),
    # Said by some configs; the class has no choice.
    constraints=(
        Constraint("sparse_attention_config", (None,)),
        Constraint("scoring_func", ("sigmoid",)),
        Constraint("use_routing_bias", (True,)),
        Constraint("use_gemma_norm", (True,)),
        Constraint("use_qk_norm", (True,)),
        Constraint("qk_norm_type", ("per_head",)),
        Constraint("n_shared_experts", (1,)),
    ),
    # The activation is fixed, whatever hidden_act says; the indexer's sizes matter to its own layers alone.
    irrelevant=keys(
        "hidden_act rotary_dim router_jitter_noise router_aux_loss_coef output_router_logits index_n_heads"
        " index_head_dim index_block_size index_topk_blocks index_local_blocks"
    ),
    spelling=TIED_EXPERTS,
)

FAMILIES = (MINIMAX_M3,)
