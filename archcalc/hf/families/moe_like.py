"""Decoders like LLaMA whose feed-forwards are mixtures of experts."""

from typing import Any

from archcalc.hf.config import INDICES
from archcalc.hf.families.llama_like import QWEN_WINDOW, sliding, window
from archcalc.hf.gguf_map import EXPERT_KEYS, HEAD_DIM, SIZES, STRAIGHT, GgufMap
from archcalc.hf.lens import Given, Key, Must
from archcalc.hf.spellings import ONE_BY_ONE, TIED, TIED_EXPERTS, Spelling
from archcalc.hf.stack import Sparse
from archcalc.hf.templates.decoder import BIASED, decoder, windows
from archcalc.hf.tensors import Holds, same
from archcalc.hf.vocabulary import (
    LLAMA_ATTENTION,
    LLAMA_DENSE,
    LLAMA_EXPERTS,
    LLAMA_NORMS,
    LLAMA_OUTSIDE,
    QK_NORMS,
    activation,
    biases,
    flag,
    keys,
    positive,
    rmsnorm,
    size,
)

MIXTRAL = decoder(
    "mixtral",
    "MixtralForCausalLM",
    n_ctx=131072,
    kv=8,
    norm=rmsnorm(1e-5),
    theta=1_000_000.0,
    attention={"window": window(None)},
    feed={
        "kind": "moe",
        "n_experts": size("num_local_experts", 8, others=("num_experts",)),
        "n_active": size("num_experts_per_tok", 2),
        "d_expert": size("intermediate_size", 14336),
        "activation": activation("silu"),
        "choose": Given("softmax"),
        "normalise": Given(True),
    },
    tensors=(LLAMA_OUTSIDE, LLAMA_ATTENTION, LLAMA_NORMS, LLAMA_EXPERTS),
    harmless=keys("router_jitter_noise layer_types"),
    spelling=Spelling(
        renamed={
            r"\.block_sparse_moe\.": ".mlp.",
            r"(\.experts\.\d+)\.w1\.": r"\1.gate_proj.",
            r"(\.experts\.\d+)\.w2\.": r"\1.down_proj.",
            r"(\.experts\.\d+)\.w3\.": r"\1.up_proj.",
        },
        one_by_one=ONE_BY_ONE,
        copies=TIED.copies,
    ),
)

QWEN3_EXPERTS: dict[str, Any] = {
    "kind": "moe",
    "n_experts": size("num_experts", 128, others=("num_local_experts",)),
    "n_active": size("num_experts_per_tok", 8),
    "d_expert": size("moe_intermediate_size", 768),
    "activation": activation("silu"),
    "choose": Given("softmax"),
    "normalise": flag("norm_topk_prob", False),
}
QWEN3_MOE = decoder(
    "qwen3_moe",
    "Qwen3MoeForCausalLM",
    vocab=151936,
    n_ctx=32768,
    width=2048,
    depth=24,
    kv=4,
    d_ff=6144,
    attention=BIASED | {"qk_norm": "head", "window": QWEN_WINDOW},
    feeds={"moe": QWEN3_EXPERTS, "dense": None},
    schedule=Sparse(size("decoder_sparse_step", 1), Key("mlp_only_layers", INDICES, (), null=())),
    tensors=(LLAMA_DENSE, QK_NORMS, LLAMA_EXPERTS),
    # Said by some configs; the class knows none of them.
    must=(
        Must("qkv_bias", (False,)),
        Must("use_qk_norm", (True,)),
        Must("shared_expert_intermediate_size", (0, None)),
    ),
    harmless=keys("max_window_layers layer_types"),
    spelling=TIED_EXPERTS,
    # llama.cpp src/models/qwen3moe.cpp: the weights of the chosen experts always sum to 1.
    gguf=GgufMap("qwen3moe", SIZES | HEAD_DIM | EXPERT_KEYS, STRAIGHT, fixed={"norm_topk_prob": True}),
)

# gpt-oss stores experts [in, out], gate and up in turn.
GATE, UP, DOWN = (f"layers.{{i}}.ffn.experts.{part}" for part in ("gate", "up", "down"))
OSS_EXPERTS = "model.layers.{i}.mlp.experts"
GPT_OSS = decoder(
    "gpt_oss",
    "GptOssForCausalLM",
    vocab=201088,
    n_ctx=131072,
    width=2880,
    depth=36,
    heads=64,
    kv=8,
    d_head=size("head_dim", 64, null=None),
    norm=rmsnorm(1e-5),
    theta=150_000.0,
    rope={
        "default": {
            "rope_type": "yarn",
            "factor": 32.0,
            "beta_fast": 32.0,
            "beta_slow": 1.0,
            "truncate": False,
            "original_max_position_embeddings": 4096,
        }
    },
    attention=biases(flag("attention_bias", True)) | {"sinks": True},
    kinds=sliding(128),
    schedule=windows(2),
    feed={
        "kind": "moe",
        "n_experts": size("num_local_experts", 128, others=("num_experts",)),
        "n_active": size("num_experts_per_tok", 4, others=("experts_per_token",)),
        "d_expert": size("intermediate_size", 2880),
        "activation": {
            "kind": "clamped_swish",
            "limit": positive("swiglu_limit", 7.0),
            "alpha": positive("swiglu_alpha", 1.702),
        },
        "expert_bias": True,
        "router_bias": True,
        "choose": "logits",
        "weigh": "softmax",
    },
    tensors=(
        LLAMA_OUTSIDE,
        LLAMA_ATTENTION,
        Holds("model.layers.{i}.self_attn.sinks", ("layers.{i}.attn.sinks",)),
        LLAMA_NORMS,
        same("layers.{i}.ffn.router", "model.layers.{i}.mlp.router"),
        Holds(f"{OSS_EXPERTS}.gate_up_proj", (f"{GATE}.weight", f"{UP}.weight"), 1, "alternate", transposed=True),
        Holds(f"{OSS_EXPERTS}.gate_up_proj_bias", (f"{GATE}.bias", f"{UP}.bias"), 1, "alternate"),
        Holds(f"{OSS_EXPERTS}.down_proj", (f"{DOWN}.weight",), transposed=True),
        Holds(f"{OSS_EXPERTS}.down_proj_bias", (f"{DOWN}.bias",)),
    ),
    # The experts' activation is fixed, whatever hidden_act says.
    harmless=keys("hidden_act initial_context_length"),
)

FAMILIES = (MIXTRAL, QWEN3_MOE, GPT_OSS)
