"""BART and its relatives: encoder-decoders with biases everywhere, whose sides have keys of their own."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from archcalc.hf.config import Config
from archcalc.hf.family import Family
from archcalc.hf.lens import Cases, Given, Key, Must, Template
from archcalc.hf.spellings import Spelling
from archcalc.hf.stack import Stack
from archcalc.hf.tensors import Holds, TensorMap, renamed, same, table
from archcalc.hf.vocabulary import activation, biases, dropout, flag, keys, layers, size, tied

NORM = {"kind": "layernorm", "eps": 1e-5}
ALSO_KNOWN = {"encoder_attention_heads": ("num_attention_heads",), "encoder_layers": ("num_hidden_layers",)}
IGNORED = keys(
    "encoder_layerdrop decoder_layerdrop classif_dropout classifier_dropout extra_pos_embeddings add_bias_logits"
    " force_bos_token_to_be_generated"
)


@dataclass(frozen=True)
class Defaults:
    """What a class of BART's kind takes where its config says nothing."""

    vocab_size: int
    n_ctx: int
    width: int
    n_layers: tuple[int, int]
    n_heads: int
    d_ff: int
    activation: str = "gelu"
    scale_embedding: bool = False
    attention_dropout: float = 0.0


@dataclass(frozen=True)
class Bart:
    """The switches of a class of BART's kind.

    `position`: the table beside the tokens. `placement`: where norms stand. `embed_norm`: whether there is a norm on
    the embedding; `final_norm`: what the norm after the last layer is called, if there is one. `bias`: whether
    projections have one.
    """

    defaults: Defaults
    position: Template
    placement: str = "post"
    embed_norm: bool = True
    final_norm: str | None = None
    base: str = "model."

    @property
    def width(self) -> Key:
        """Return the key of the model's width."""
        return size("d_model", self.defaults.width, others=("hidden_size",))

    def root(self, config: Config) -> float:
        """Return √d_model."""
        return math.sqrt(self.width.read(config))

    def layer(self, side: str) -> dict[str, Any]:
        """Return a layer of the encoder or the decoder."""
        heads = f"{side}_attention_heads"
        attention = {
            "kind": "gqa",
            "n_heads": size(heads, self.defaults.n_heads, others=ALSO_KNOWN.get(heads, ())),
            **biases(True),
        }
        return {
            "norm": NORM,
            "placement": self.placement,
            "attention": attention,
            "cross": attention if side == "decoder" else None,
            "ffn": {
                "kind": "plain",
                "d_ff": size(f"{side}_ffn_dim", self.defaults.d_ff),
                "activation": activation(self.defaults.activation, "activation_function"),
                "bias": True,
            },
        }

    def stack(self, side: str) -> Stack:
        """Return the encoder or the decoder."""
        name = f"{side}_layers"
        n_layers = self.defaults.n_layers[side == "decoder"]
        around = {
            "position": self.position,
            "embed_norm": NORM if self.embed_norm else None,
            "final_norm": NORM if self.final_norm else None,
        }
        count = layers(n_layers, name, others=ALSO_KNOWN.get(name, ()))
        return Stack(count, {"layer": self.layer(side)}, around=around)

    def template(self) -> dict[str, Template]:
        """Return the template of the encoder-decoder."""
        rate = dropout("dropout", 0.1)
        scaled = flag("scale_embedding", self.defaults.scale_embedding)
        return {
            "vocab_size": size("vocab_size", self.defaults.vocab_size),
            "n_ctx": size("max_position_embeddings", self.defaults.n_ctx),
            "d_model": self.width,
            "embedding": {"scale": Cases(scaled, {False: None, True: Given(self.root)})},
            "encoder": self.stack("encoder"),
            "decoder": self.stack("decoder"),
            "head": tied(True),
            "dropout": {
                "embedding": rate,
                "attention": dropout("attention_dropout", self.defaults.attention_dropout),
                "residual": rate,
                "ffn": dropout("activation_dropout", 0.0),
            },
        }

    def side(self, side: str) -> tuple[Holds, ...]:
        """Return the tensors of the encoder or the decoder."""
        outside = {"positions": "embed_positions", "embed_norm": "layernorm_embedding", "final_norm": self.final_norm}
        named = {ours: name for ours, name in outside.items() if name}
        base = f"{self.base}{side}."
        return (
            *renamed(named, f"{side}.", base),
            *renamed(_layer_names(side), f"{side}.layers.{{i}}.", f"{base}layers.{{i}}."),
        )

    def tensors(self) -> TensorMap:
        """Return the tensors of the encoder-decoder."""
        return table(
            same("embed.tokens", f"{self.base}shared"),
            self.side("encoder"),
            self.side("decoder"),
            same("head", "lm_head"),
            unmapped={"final_logits_bias": "a buffer, added to the logits, that is no part of the spec"},
        )


    def spelling(self) -> Spelling:
        """Return how files spell the tensors of the encoder-decoder."""
        tables = (f"{self.base}encoder.embed_tokens", f"{self.base}decoder.embed_tokens", "lm_head")
        stored = isinstance(self.position, dict) and self.position.get("stored")
        return Spelling(
            copies={f"{name}.weight": f"{self.base}shared.weight" for name in tables},
            computed=("encoder.positions.weight", "decoder.positions.weight") if stored else (),
            zero=("final_logits_bias",),
        )


def _layer_names(side: str) -> dict[str, str]:
    """Return the names of a layer's parts."""
    attentions = {"attn": "self_attn", "cross": "encoder_attn"} if side == "decoder" else {"attn": "self_attn"}
    parts = {"q": "q_proj", "k": "k_proj", "v": "v_proj", "out": "out_proj"}
    projections = {
        f"{ours}.{part}": f"{there}.{name}" for ours, there in attentions.items() for part, name in parts.items()
    }
    norms = {f"{ours}_norm": f"{there}_layer_norm" for ours, there in attentions.items()}
    return projections | norms | {"ffn.up": "fc1", "ffn.down": "fc2", "ffn_norm": "final_layer_norm"}


def bart_like(
    model_type: str,
    conditional: str,
    bart: Bart,
    must: tuple[Must, ...] = (),
    harmless: frozenset[str] = frozenset(),
    **row: Any,
) -> Family:
    """Return the row of a model type whose encoder-decoder is the class `conditional`."""
    return Family(
        model_type,
        (conditional,),
        bart.template(),
        bart.tensors(),
        (Must("is_decoder", (False,)), *must),
        IGNORED | harmless,
        is_encoder_decoder=True,
        spelling=bart.spelling(),
        **row,
    )
