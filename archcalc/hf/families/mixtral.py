"""Mixtral: Mistral with a mixture of experts in every layer."""

from archcalc.hf.family import Family
from archcalc.hf.lens import Given
from archcalc.hf.rope import Rope
from archcalc.hf.stack import Stack
from archcalc.hf.tensors import table
from archcalc.hf.vocabulary import (
    LLAMA_ATTENTION,
    LLAMA_EXPERTS,
    LLAMA_NORMS,
    LLAMA_OUTSIDE,
    activation,
    dropout,
    keys,
    layers,
    rmsnorm,
    size,
    tied,
)

HEADS = size("num_attention_heads", 32)
CONTEXT = size("max_position_embeddings", 131072)
NORM = rmsnorm(1e-5)

TEMPLATE = {
    "vocab_size": size("vocab_size", 32000),
    "n_ctx": CONTEXT,
    "d_model": size("hidden_size", 4096),
    "decoder": Stack(
        count=layers(32),
        kinds={
            "layer": {
                "norm": NORM,
                "attention": {
                    "kind": "gqa",
                    "n_heads": HEADS,
                    "n_kv_heads": size("num_key_value_heads", 8, null=HEADS.read),
                    "d_head": size("head_dim", None, null=None),
                    "position": Rope(theta=1_000_000.0, n_ctx=CONTEXT),
                    "window": size("sliding_window", None, null=None),
                },
                "ffn": {
                    "kind": "moe",
                    "n_experts": size("num_local_experts", 8, others=("num_experts",)),
                    "n_active": size("num_experts_per_tok", 2),
                    "d_expert": size("intermediate_size", 14336),
                    "activation": activation("silu"),
                    "choose": Given("softmax"),
                    "normalise": Given(True),
                },
            }
        },
        around={"final_norm": NORM},
    ),
    "head": tied(False),
    "dropout": {"attention": dropout("attention_dropout", 0.0)},
}

FAMILIES = (
    Family(
        "mixtral",
        ("MixtralForCausalLM",),
        TEMPLATE,
        table(LLAMA_OUTSIDE, LLAMA_ATTENTION, LLAMA_NORMS, LLAMA_EXPERTS),
        harmless=keys("router_jitter_noise"),
    ),
)
