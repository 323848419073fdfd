"""DeepSeek-V3 and R1: latent attention, a few dense layers, then grouped experts chosen with a correction bias."""

from dataclasses import replace

from archcalc.hf.config import COUNT, LAYERS_OR_NONE
from archcalc.hf.family import Family
from archcalc.hf.lens import Key, Must
from archcalc.hf.rope import Rope
from archcalc.hf.spellings import TIED_EXPERTS
from archcalc.hf.stack import DenseFirst, Stack
from archcalc.hf.tensors import Holds, renamed, table
from archcalc.hf.vocabulary import (
    LLAMA_EXPERTS,
    LLAMA_FFN,
    LLAMA_NORMS,
    LLAMA_OUTSIDE,
    activation,
    dropout,
    flag,
    keys,
    layers,
    positive,
    rmsnorm,
    size,
    tied,
)

CONTEXT = size("max_position_embeddings", 4096)
NORM = rmsnorm(1e-6)
ACTIVATION = activation("silu")
BIAS = flag("attention_bias", False)

LAYER = {
    "norm": NORM,
    "attention": {
        "kind": "mla",
        "n_heads": size("num_attention_heads", 128),
        "q_rank": size("q_lora_rank", 1536, null=None),
        "kv_rank": size("kv_lora_rank", 512),
        "d_nope": size("qk_nope_head_dim", 128),
        "d_rope": size("qk_rope_head_dim", 64),
        "d_v": size("v_head_dim", 128),
        # The latents' norms do not read rms_norm_eps.
        "norm": {"kind": "rmsnorm", "eps": 1e-6},
        "down_bias": BIAS,
        "out_bias": BIAS,
        "position": Rope(interleaved=flag("rope_interleave", True), n_ctx=CONTEXT),
    },
}
DENSE = {"kind": "gated", "d_ff": size("intermediate_size", 18432), "activation": ACTIVATION}
MOE = {
    "kind": "moe",
    "n_experts": size("n_routed_experts", 256, others=("num_local_experts",)),
    "n_active": size("num_experts_per_tok", 8),
    "d_expert": size("moe_intermediate_size", 2048),
    "activation": ACTIVATION,
    "correction": "buffer",
    "choose": "sigmoid",
    "normalise": flag("norm_topk_prob", True),
    "scale": positive("routed_scaling_factor", 2.5),
    "n_groups": size("n_group", 8),
    "n_active_groups": size("topk_group", 4),
    "n_shared": Key("n_shared_experts", COUNT, 1),
}

TEMPLATE = {
    "vocab_size": size("vocab_size", 129280),
    "n_ctx": CONTEXT,
    "d_model": size("hidden_size", 7168),
    "decoder": Stack(
        count=layers(61),
        kinds={"dense": LAYER | {"ffn": DENSE}, "moe": LAYER | {"ffn": MOE}},
        schedule=DenseFirst(Key("first_k_dense_replace", LAYERS_OR_NONE, 3)),
        around={"final_norm": NORM},
    ),
    "head": tied(False),
    "dropout": {"attention": dropout("attention_dropout", 0.0, null=0.0)},
}

LATENT = renamed(
    {
        "attn.q": "q_proj",
        "attn.q_down": "q_a_proj",
        "attn.q_down_norm": "q_a_layernorm",
        "attn.q_up": "q_b_proj",
        "attn.kv_down": "kv_a_proj_with_mqa",
        "attn.kv_down_norm": "kv_a_layernorm",
        "attn.kv_up": "kv_b_proj",
        "attn.out": "o_proj",
    },
    "layers.{i}.",
    "model.layers.{i}.self_attn.",
)
SHARED = renamed(
    {"gate": "gate_proj", "up": "up_proj", "down": "down_proj"},
    "layers.{i}.ffn.shared.",
    "model.layers.{i}.mlp.shared_experts.",
)
CORRECTION = Holds("model.layers.{i}.mlp.gate.e_score_correction_bias", ("layers.{i}.ffn.correction_bias",))

FAMILIES = (
    Family(
        "deepseek_v3",
        ("DeepseekV3ForCausalLM",),
        TEMPLATE,
        table(LLAMA_OUTSIDE, LATENT, LLAMA_NORMS, LLAMA_FFN, LLAMA_EXPERTS, SHARED, CORRECTION),
        must=(
            Must("moe_layer_freq", (1,)),
            Must("scoring_func", ("sigmoid",)),
            Must("topk_method", ("noaux_tc",)),
        ),
        # Widths that follow from others, and the modules for multi-token prediction, which no forward pass runs.
        harmless=keys(
            "num_key_value_heads head_dim qk_head_dim num_nextn_predict_layers num_mtp_layers ep_size"
            " aux_loss_alpha seq_aux"
        ),
        spelling=replace(TIED_EXPERTS, further="num_nextn_predict_layers"),
    ),
)
