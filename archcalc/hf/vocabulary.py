"""Keys, templates and tensor names that many families share. Each call states its family's own defaults."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, final

import msgspec

from archcalc.hf.config import FLAG, LAYERS, POSITIVE, PROBABILITY, SIZE, TEXT, Config
from archcalc.hf.lens import Choice, ConfigDraft, ConfigLens, Key, Template
from archcalc.hf.tensors import TensorEntry, module, modules

if TYPE_CHECKING:
    from archcalc.spec.document import Document

# transformers' names of activations → ours. If several names mean one function, the first is written.
ACTIVATIONS = {
    "silu": "silu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "relu": "relu",
    "relu2": "relu2",
    "relu6": "relu6",
    "leaky_relu": "leaky_relu",
    "gelu_10": "gelu_10",
    "quick_gelu": "quick_gelu",
    "hardswish": "hardswish",
    "mish": "mish",
    "sigmoid": "sigmoid",
    "tanh": "tanh",
    "laplace": "laplace",
    "sqrtsoftplus": "sqrt_softplus",
    "linear": "identity",
    "swish": "silu",
    "gelu_python": "gelu",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_python_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_accurate": "gelu_tanh",
}


def keys(names: str) -> frozenset[str]:
    """Return keys that are written as words in one text."""
    return frozenset(names.split())


def size(name: str, default: Any, **options: Any) -> Key:
    """Return a key for a size."""
    return Key(name, SIZE, default, **options)


def layers(default: Any, name: str = "num_hidden_layers", **options: Any) -> Key:
    """Return the key for the number of layers."""
    return Key(name, LAYERS, default, **options)


def flag(name: str, default: bool, **options: Any) -> Key:
    """Return a key for true or false."""
    return Key(name, FLAG, default, **options)


def dropout(name: str, default: float, **options: Any) -> Key:
    """Return a key for a dropout probability."""
    return Key(name, PROBABILITY, default, **options)


def positive(name: str, default: Any, **options: Any) -> Key:
    """Return a key for a number above zero."""
    return Key(name, POSITIVE, default, **options)


def activation(default: str, name: str = "hidden_act", meanings: Mapping[str, str] = ACTIVATIONS) -> Choice:
    """Return the lens of the feed-forward's activation function."""
    return Choice(Key(name, TEXT, default), meanings)


def rmsnorm(eps: float, name: str = "rms_norm_eps", **fixed: Any) -> Template:
    """Return an RMSNorm with its epsilon under `name`."""
    return {"kind": "rmsnorm", "eps": positive(name, eps), **fixed}


def layernorm(eps: float, name: str, **fixed: Any) -> Template:
    """Return a LayerNorm with its epsilon under `name`."""
    return {"kind": "layernorm", "eps": positive(name, eps), **fixed}


def biases(value: Any) -> dict[str, Any]:
    """Return the same bias setting for all four projections of an attention."""
    return dict.fromkeys(("q_bias", "k_bias", "v_bias", "out_bias"), value)


@final
class EmbeddingFactor(ConfigLens, msgspec.Struct, frozen=True):
    """The factorization of a token table that may be narrower than the model; None if it is as wide."""

    key: Key
    width: Key
    factor: Mapping[str, Any]

    def names(self) -> Iterator[str]:
        """Yield the key of the table's width."""
        yield from self.key.names()

    def read(self, config: Config) -> Document | None:
        """Return the factorization, or None."""
        d_embed = self.key.read(config)
        return None if d_embed == self.width.read(config) else {"d_embed": d_embed, **self.factor}

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put the table's width, which is the model's if there is no factorization."""
        draft.put(self.key.name, value["d_embed"] if value else draft[self.width.name])


def tied(default: bool) -> Template:
    """Return a head that shares its matrix with the token table if the config says so."""
    return {"tied": flag("tie_word_embeddings", default)}


# The parts of one fused projection.
QKV = ("layers.{i}.attn.q", "layers.{i}.attn.k", "layers.{i}.attn.v")

# Tensor names of LLaMA's class, which most later classes follow.
LLAMA_OUTSIDE = (
    *modules({"embed.tokens": "embed_tokens", "final_norm": "norm"}, name="model."),
    *module("head", "lm_head"),
)
LLAMA_ATTENTION = modules(
    {"attn.q": "q_proj", "attn.k": "k_proj", "attn.v": "v_proj", "attn.out": "o_proj"},
    "layers.{i}.",
    "model.layers.{i}.self_attn.",
)
QK_NORMS = modules({"attn.q_norm": "q_norm", "attn.k_norm": "k_norm"}, "layers.{i}.", "model.layers.{i}.self_attn.")
LLAMA_NORMS = modules(
    {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}, "layers.{i}.", "model.layers.{i}."
)
LLAMA_FFN = modules(
    {"gate": "gate_proj", "up": "up_proj", "down": "down_proj"}, "layers.{i}.ffn.", "model.layers.{i}.mlp."
)
LLAMA_EXPERTS = (
    TensorEntry(
        "model.layers.{i}.mlp.experts.gate_up_proj",
        ("layers.{i}.ffn.experts.gate.weight", "layers.{i}.ffn.experts.up.weight"),
        axis=1,
    ),
    TensorEntry("model.layers.{i}.mlp.experts.down_proj", ("layers.{i}.ffn.experts.down.weight",)),
    *module("layers.{i}.ffn.router", "model.layers.{i}.mlp.gate"),
)
LLAMA_DENSE = (*LLAMA_OUTSIDE, *LLAMA_ATTENTION, *LLAMA_NORMS, *LLAMA_FFN)
# Experts that process every token, and the bias that corrects the choice of the others.
SHARED_EXPERTS = modules(
    {"gate": "gate_proj", "up": "up_proj", "down": "down_proj"},
    "layers.{i}.ffn.shared.",
    "model.layers.{i}.mlp.shared_experts.",
)
CORRECTION = TensorEntry("model.layers.{i}.mlp.gate.e_score_correction_bias", ("layers.{i}.ffn.correction_bias",))
