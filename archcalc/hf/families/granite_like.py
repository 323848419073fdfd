"""Dense decoders with Granite's multipliers: of the embedding, the attention, the residual branches and the logits."""

from typing import Any

from archcalc.hf.config import Config
from archcalc.hf.families.llama_like import window
from archcalc.hf.family import derive
from archcalc.hf.gguf_map import HEAD_DIM, PERMUTED, SIZES, GgufMap, stored
from archcalc.hf.lens import Cases, Conversion
from archcalc.hf.rope import LayerTheta
from archcalc.hf.templates.decoder import BIASED, LAYER, MLP_BIAS, decoder, windows
from archcalc.hf.tensors import TensorEntry, modules
from archcalc.hf.vocabulary import LLAMA_DENSE, flag, positive, rmsnorm, size

SINKS = TensorEntry("model.layers.{i}.self_attn.sinks", ("layers.{i}.attn.sinks",))
MULTIPLIERS: dict[str, Any] = {
    "layer": {"scale": positive("residual_multiplier", 1.0)},
    "attention": BIASED | {"scale": positive("attention_multiplier", 1.0)},
    "model_fields": {"embedding": {"scale": positive("embedding_multiplier", 1.0)}},
    "head": {"scale": Conversion(positive("logits_scaling", 1.0), lambda scale: 1 / scale, lambda scale: 1 / scale)},
}
# Layers with windows, and with thetas of their own.
OWN_THETAS: dict[str, Any] = {
    "attention": {**MULTIPLIERS["attention"], "sinks": True},
    "kinds": {
        "global": {"window": None, "position": LayerTheta},
        "sliding": {"window": window(128), "position": LayerTheta},
    },
    "schedule": windows(4, full=0),
    "lists": {"layer_rope_theta": "layer_rope_theta"},
}


def score_scale(config: Config) -> float:
    """Return the default factor of the scores."""
    width = size("hidden_size", 4096).read(config) // size("num_attention_heads", 32).read(config)
    return float((size("head_dim", None, null=None).read(config) or width) ** -0.5)


GGUF_MULTIPLIERS = {
    "attention.scale": "attention_multiplier",
    "embedding_scale": "embedding_multiplier",
    "residual_scale": "residual_multiplier",
    "logit_scale": "logits_scaling",
}
GRANITE = decoder(
    "granite",
    "GraniteForCausalLM",
    ffn={"bias": MLP_BIAS},
    gguf=GgufMap(
        "granite",
        SIZES | HEAD_DIM | GGUF_MULTIPLIERS,
        PERMUTED,
        config_keys=stored(attention_bias="attn_q.bias", mlp_bias="ffn_up.bias"),
    ),
    **MULTIPLIERS,
)
GRANITE_SWA = derive(
    GRANITE,
    "granite_swa",
    "GraniteSWAForCausalLM",
    vocab=100352,
    width=2560,
    d_ff=8192,
    depth=24,
    heads=20,
    kv=4,
    n_ctx=8192,
    norm=rmsnorm(1e-5),
    tie=True,
    tensors=(LLAMA_DENSE, SINKS),
    **OWN_THETAS,
)
HYPERCLOVAX = derive(
    GRANITE,
    "hyperclovax",
    "HyperCLOVAXForCausalLM",
    layer={
        "placement": Cases(flag("use_post_norm", True), {True: "sandwich", False: "pre"}),
        **MULTIPLIERS["layer"],
    },
    attention=BIASED | {"scale": positive("attention_multiplier", score_scale, null=score_scale)},
    head={"scale": positive("logits_scaling", 1.0)},
    tensors=(LLAMA_DENSE, modules({"attn_out_norm": "post_norm1", "ffn_out_norm": "post_norm2"}, *LAYER)),
)

FAMILIES = (GRANITE, GRANITE_SWA, HYPERCLOVAX)
