"""Decoders like LLaMA whose feed-forwards have two matrices."""

from typing import Any

from archcalc.formats.gguf_file import Header
from archcalc.hf.families.llama_like import NO_PADDING
from archcalc.hf.gguf_map import (
    BLOCK,
    HEAD_DIM,
    LAYERNORM_SIZES,
    NORM_EPS,
    PARTIAL_ROTARY,
    RMS_EPS,
    SIZES,
    UNPERMUTED_ENTRIES,
    GgufMap,
    partial_rotary,
    stored,
)
from archcalc.hf.gguf_rope import FACTORS
from archcalc.hf.templates.decoder import BIASED, LAYER, MLP_BIAS, decoder
from archcalc.hf.tensors import TensorEntry, modules, table
from archcalc.hf.vocabulary import (
    ACTIVATIONS,
    LLAMA_ATTENTION,
    LLAMA_DENSE,
    LLAMA_FFN,
    LLAMA_OUTSIDE,
    QK_NORMS,
    activation,
    layernorm,
    positive,
    rmsnorm,
)

# Each with its axes besides those of ours in GGUF files: there a number is a list of one.
XIELU_NUMBERS: dict[str, tuple[int, ...]] = {"alpha_p": (), "alpha_n": (), "beta": (0,), "eps": (0,)}
XIELU = tuple(
    TensorEntry(f"model.layers.{{i}}.mlp.act_fn.{name}", (f"layers.{{i}}.ffn.activation.{name}",))
    for name in XIELU_NUMBERS
)
XIELU_GGUF = tuple(
    TensorEntry(f"blk.{{i}}.xielu.{name}", (f"layers.{{i}}.ffn.activation.{name}",), unit_axes=axes)
    for name, axes in XIELU_NUMBERS.items()
)


def apertus_gguf(header: Header, config: dict[str, Any]) -> dict[str, Any]:
    """Return whether there are biases, and that nothing is scaled in a file without factors: the class scales."""
    found = stored(attention_bias="attn_q.bias")(header, config)
    is_scaled = FACTORS in header.tensors or "rope_scaling" in config
    return found if is_scaled else found | {"rope_scaling": {"rope_type": "default"}}


APERTUS = decoder(
    "apertus",
    "ApertusForCausalLM",
    vocab=131072,
    d_ff=14336,
    n_ctx=65536,
    norm=rmsnorm(1e-5),
    theta=12_000_000.0,
    rope={
        "default": {
            "rope_type": "llama3",
            "factor": 8.0,
            "original_max_position_embeddings": 8192,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
        }
    },
    act=activation("xielu", meanings=ACTIVATIONS | {"xielu": "xielu"}),
    attention=BIASED | {"qk_norm": "head"},
    ffn={"kind": "plain"},
    tensors=(
        LLAMA_OUTSIDE,
        LLAMA_ATTENTION,
        QK_NORMS,
        modules({"attn_norm": "attention_layernorm", "ffn_norm": "feedforward_layernorm"}, *LAYER),
        LLAMA_FFN,
        XIELU,
    ),
    gguf=GgufMap(
        "apertus",
        SIZES | HEAD_DIM,
        table(UNPERMUTED_ENTRIES, XIELU_GGUF),
        config_keys=apertus_gguf,
        has_rope_factors=True,
        listed={f"xielu.{name}": f"blk.{{i}}.xielu.{name}" for name in XIELU_NUMBERS},
    ),
)

UNWEIGHTED = rmsnorm(1e-6, weight=False)
NANOCHAT = decoder(
    "nanochat",
    "NanoChatForCausalLM",
    vocab=50304,
    width=768,
    d_ff=8192,
    depth=12,
    heads=6,
    norm=UNWEIGHTED,
    act="relu2",
    attention=BIASED | {"qk_norm": {"norm": UNWEIGHTED, "over": "head", "when": "after"}},
    ffn={"kind": "plain"},
    stack_fields={"embed_norm": UNWEIGHTED},
    head={"softcap": positive("final_logit_softcapping", 15.0, null=None)},
    tensors=(
        LLAMA_OUTSIDE,
        # Its heads rotate the other way: with their halves exchanged they rotate as all others do.
        modules({"attn.q": "self_attn.q_proj", "attn.k": "self_attn.k_proj"}, *LAYER, order="swapped"),
        modules({"attn.v": "self_attn.v_proj", "attn.out": "self_attn.o_proj"}, *LAYER),
        modules({"ffn.up": "mlp.fc1", "ffn.down": "mlp.fc2"}, *LAYER),
    ),
    fixed_keys=NO_PADDING,
)


def nemotron_gguf(header: Header, config: dict[str, Any]) -> dict[str, Any]:
    """Return which biases are stored, and the rotated share of a head."""
    flags = stored(attention_bias="attn_q.bias", mlp_bias="ffn_up.bias")(header, config)
    return flags | partial_rotary(header, config)


NEMOTRON = decoder(
    "nemotron",
    "NemotronForCausalLM",
    vocab=256000,
    width=6144,
    d_ff=24576,
    heads=48,
    n_ctx=4096,
    norm=layernorm(1e-5, "norm_eps", unit_offset=True),
    act="relu2",
    partial=0.5,
    rope={"rounds_up": True},
    attention=BIASED,
    ffn={"kind": "plain", "bias": MLP_BIAS},
    tensors=(LLAMA_DENSE,),
    gguf=GgufMap(
        "nemotron",
        LAYERNORM_SIZES | HEAD_DIM | {NORM_EPS: "norm_eps"},
        # Norms are stored as the factor: 1 + weight.
        table(
            modules({"final_norm": "output_norm"}, plus=1.0),
            modules({"attn_norm": "attn_norm", "ffn_norm": "ffn_norm"}, *BLOCK, plus=1.0),
            UNPERMUTED_ENTRIES,
        ),
        config_keys=nemotron_gguf,
        own_keys=(PARTIAL_ROTARY, RMS_EPS),
    ),
)

FAMILIES = (APERTUS, NANOCHAT, NEMOTRON)
