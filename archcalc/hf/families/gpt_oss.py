"""gpt-oss: windows in every other layer, sinks, biases everywhere, experts stored [in, out], gate and up in turn."""

from archcalc.hf.family import Family
from archcalc.hf.lens import Must, Template
from archcalc.hf.rope import Rope
from archcalc.hf.stack import ALTERNATING, Stack
from archcalc.hf.tensors import Holds, same, table
from archcalc.hf.vocabulary import (
    LLAMA_ATTENTION,
    LLAMA_NORMS,
    LLAMA_OUTSIDE,
    biases,
    dropout,
    flag,
    keys,
    layers,
    rmsnorm,
    size,
    tied,
)

HEADS = size("num_attention_heads", 64)
CONTEXT = size("max_position_embeddings", 131072)
NORM = rmsnorm(1e-5)
YARN = {
    "rope_type": "yarn",
    "factor": 32.0,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
    "truncate": False,
    "original_max_position_embeddings": 4096,
}


def layer(window: Template) -> Template:
    """A layer with this window."""
    return {
        "norm": NORM,
        "attention": {
            "kind": "gqa",
            "n_heads": HEADS,
            "n_kv_heads": size("num_key_value_heads", 8, null=HEADS.read),
            "d_head": size("head_dim", 64, null=None),
            **biases(flag("attention_bias", True)),
            "sinks": True,
            "position": Rope(theta=150_000.0, default=YARN, n_ctx=CONTEXT),
            "window": window,
        },
        "ffn": {
            "kind": "moe",
            "n_experts": size("num_local_experts", 128, others=("num_experts",)),
            "n_active": size("num_experts_per_tok", 4, others=("experts_per_token",)),
            "d_expert": size("intermediate_size", 2880),
            "activation": "clamped_swish",
            "expert_bias": True,
            "router_bias": True,
            "choose": "logits",
            "weigh": "softmax",
        },
    }


TEMPLATE = {
    "vocab_size": size("vocab_size", 201088),
    "n_ctx": CONTEXT,
    "d_model": size("hidden_size", 2880),
    "decoder": Stack(
        count=layers(36),
        kinds={"global": layer(None), "sliding": layer(size("sliding_window", 128, null=None))},
        schedule=ALTERNATING,
        around={"final_norm": NORM},
    ),
    "head": tied(False),
    "dropout": {"attention": dropout("attention_dropout", 0.0)},
}

GATE, UP, DOWN = (f"layers.{{i}}.ffn.experts.{part}" for part in ("gate", "up", "down"))
EXPERTS = "model.layers.{i}.mlp.experts"

TENSORS = table(
    LLAMA_OUTSIDE,
    LLAMA_ATTENTION,
    Holds("model.layers.{i}.self_attn.sinks", ("layers.{i}.attn.sinks",)),
    LLAMA_NORMS,
    same("layers.{i}.ffn.router", "model.layers.{i}.mlp.router"),
    Holds(f"{EXPERTS}.gate_up_proj", (f"{GATE}.weight", f"{UP}.weight"), 1, "alternate", transposed=True),
    Holds(f"{EXPERTS}.gate_up_proj_bias", (f"{GATE}.bias", f"{UP}.bias"), 1, "alternate"),
    Holds(f"{EXPERTS}.down_proj", (f"{DOWN}.weight",), transposed=True),
    Holds(f"{EXPERTS}.down_proj_bias", (f"{DOWN}.bias",)),
)

FAMILIES = (
    Family(
        "gpt_oss",
        ("GptOssForCausalLM",),
        TEMPLATE,
        TENSORS,
        must=(Must("swiglu_alpha", (1.702,)), Must("swiglu_limit", (7.0,))),
        # The experts' activation is fixed, whatever hidden_act says.
        harmless=keys("hidden_act initial_context_length"),
    ),
)
