"""GPT-like decoders: LayerNorms and a plain feed-forward."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from archcalc.hf.config import Config
from archcalc.hf.lens import Cases, ConfigLens, ImpliedValue, Key, Template
from archcalc.hf.stack import StackLens
from archcalc.hf.vocabulary import biases, dropout, flag, layers, size


class SizeKeys(msgspec.Struct, frozen=True):
    """The keys of a decoder's sizes, with the class's defaults."""

    vocab_size: Key
    n_ctx: Key
    width: Key
    n_layers: Key
    n_heads: Key

    def four_times(self, config: Config) -> int:
        """Return the default width of the feed-forward."""
        return 4 * int(self.width.read(config))

    def head_width(self, config: Config) -> int:
        """Return the width of a head."""
        return int(self.width.read(config) // self.n_heads.read(config))

    def root(self, config: Config) -> float:
        """Return √d_model."""
        return math.sqrt(self.width.read(config))


def gpt2_sizes(vocab_size: int, n_ctx: int, width: int, n_layers: int, n_heads: int) -> SizeKeys:
    """Return the sizes under GPT-2's names."""
    return SizeKeys(
        size("vocab_size", vocab_size),
        size("n_positions", n_ctx, aliases=("max_position_embeddings",)),
        size("n_embd", width, aliases=("hidden_size",)),
        layers(n_layers, "n_layer", aliases=("num_hidden_layers",)),
        size("n_head", n_heads, aliases=("num_attention_heads",)),
    )


def gpt2_dropout(p: float) -> Template:
    """Return dropout under GPT-2's names, `p` everywhere by default."""
    return {
        "embedding": dropout("embd_pdrop", p),
        "attention": dropout("attn_pdrop", p),
        "residual": dropout("resid_pdrop", p),
    }


def root_scaled(sizes: SizeKeys, default: bool) -> Template:
    """Return an embedding that is multiplied by √d_model if `scale_embedding`."""
    return {"scale": Cases(flag("scale_embedding", default), {False: None, True: ImpliedValue(sizes.root)})}


def inner(sizes: SizeKeys, name: str = "n_inner") -> Key:
    """Return the key of a feed-forward's width, four times the model's where it is null."""
    return size(name, sizes.four_times, null=sizes.four_times)


def gpt_layer(
    sizes: SizeKeys,
    *,
    norm: Template,
    attention: Template,
    d_ff: Template = None,
    activation: Template = None,
    placement: Template = "pre",
    ffn_bias: Any = True,
    ffn: Template = None,
) -> dict[str, Template]:
    """Return a layer. `attention` has the fields of its attention except the number of heads; `ffn` replaces GPT's."""
    return {
        "norm": norm,
        "placement": placement,
        "attention": {"kind": "gqa", "n_heads": sizes.n_heads, **attention},
        "ffn": ffn or {"kind": "plain", "d_ff": d_ff, "activation": activation, "bias": ffn_bias},
    }


def idle_cross(sizes: SizeKeys) -> dict[str, Template]:
    """Return the cross-attention, with biases, that a layer has without an encoder if `add_cross_attention` is set."""
    attention = {"kind": "gqa", "n_heads": sizes.n_heads, **biases(True)}
    is_kept = flag("add_cross_attention", False)
    return {
        "cross": Cases(is_kept, {False: None, True: attention}),
        "cross_reads": Cases(is_kept, {False: "source", True: "nothing"}),
    }


def gpt_like(
    sizes: SizeKeys,
    layer: Template,
    *,
    stack_fields: Template,
    head: Template,
    dropout: Template,
    embedding: Template = None,
) -> dict[str, Template]:
    """Return the template of a decoder with equal layers."""
    return decoder_of(
        sizes, StackLens(sizes.n_layers, {"layer": layer}, stack_fields=stack_fields), head, dropout, embedding
    )


def decoder_of(
    sizes: SizeKeys, stack: ConfigLens, head: Template, dropout: Template, embedding: Template = None
) -> dict[str, Template]:
    """Return the template of a model with one stack."""
    return {
        "vocab_size": sizes.vocab_size,
        "n_ctx": sizes.n_ctx,
        "d_model": sizes.width,
        **({} if embedding is None else {"embedding": embedding}),
        "decoder": stack,
        "head": head,
        "dropout": dropout,
    }
