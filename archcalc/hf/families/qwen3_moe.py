"""Qwen3's mixtures of experts; layers that are listed, or that a step leaves out, are dense."""

from archcalc.hf.config import INDICES
from archcalc.hf.families.qwen2 import WINDOW
from archcalc.hf.family import Family
from archcalc.hf.lens import Given, Key, Must
from archcalc.hf.rope import Rope
from archcalc.hf.stack import Sparse, Stack
from archcalc.hf.tensors import table
from archcalc.hf.vocabulary import (
    LLAMA_DENSE,
    LLAMA_EXPERTS,
    QK_NORMS,
    activation,
    biases,
    dropout,
    flag,
    keys,
    layers,
    rmsnorm,
    size,
    tied,
)

WIDTH = size("hidden_size", 2048)
HEADS = size("num_attention_heads", 32)
CONTEXT = size("max_position_embeddings", 32768)
NORM = rmsnorm(1e-6)
ACTIVATION = activation("silu")

LAYER = {
    "norm": NORM,
    "attention": {
        "kind": "gqa",
        "n_heads": HEADS,
        "n_kv_heads": size("num_key_value_heads", 4),
        "d_head": size("head_dim", None, null=None),
        **biases(flag("attention_bias", False)),
        "qk_norm": {"norm": NORM, "over": "head"},
        "position": Rope(n_ctx=CONTEXT),
        "window": WINDOW,
    },
}
DENSE = {"kind": "gated", "d_ff": size("intermediate_size", 6144), "activation": ACTIVATION}
MOE = {
    "kind": "moe",
    "n_experts": size("num_experts", 128, others=("num_local_experts",)),
    "n_active": size("num_experts_per_tok", 8),
    "d_expert": size("moe_intermediate_size", 768),
    "activation": ACTIVATION,
    "choose": Given("softmax"),
    "normalise": flag("norm_topk_prob", False),
}

TEMPLATE = {
    "vocab_size": size("vocab_size", 151936),
    "n_ctx": CONTEXT,
    "d_model": WIDTH,
    "decoder": Stack(
        count=layers(24),
        kinds={"moe": LAYER | {"ffn": MOE}, "dense": LAYER | {"ffn": DENSE}},
        schedule=Sparse(size("decoder_sparse_step", 1), Key("mlp_only_layers", INDICES, (), null=())),
        around={"final_norm": NORM},
    ),
    "head": tied(False),
    "dropout": {"attention": dropout("attention_dropout", 0.0)},
}

FAMILIES = (
    Family(
        "qwen3_moe",
        ("Qwen3MoeForCausalLM",),
        TEMPLATE,
        table(LLAMA_DENSE, QK_NORMS, LLAMA_EXPERTS),
        # Said by some configs; the class knows none of them.
        must=(
            Must("qkv_bias", (False,)),
            Must("use_qk_norm", (True,)),
            Must("shared_expert_intermediate_size", (0, None)),
        ),
        harmless=keys("max_window_layers"),
    ),
)
