"""Encoders that mix tokens by a Fourier transform (FNet) or approximate attention (MRA)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from archcalc.hf.config import Config
from archcalc.hf.families.bert_like import BERT
from archcalc.hf.family import derive
from archcalc.hf.lens import Constraint, ImpliedValue
from archcalc.hf.templates.bert_like import EMBEDDING_NAMES, LAYER_NAMES, HeadNames
from archcalc.hf.vocabulary import activation, biases, layernorm, size
from archcalc.words import msg


def transformed(layer: Mapping[str, Any]) -> dict[str, Any]:
    """Return a layer with a Fourier transform in the place of attention."""
    return {"mixer": {"kind": "fourier"}, **{name: part for name, part in layer.items() if name != "attention"}}


WIDTH = size("hidden_size", 768)
FNET = derive(
    BERT,
    "fnet",
    "FNetForMaskedLM",
    root="fnet",
    vocab_size=size("vocab_size", 32000),
    d_model=WIDTH,
    activation=activation("gelu_new"),
    n_types=size("type_vocab_size", 4),
    factor={"d_embed": WIDTH, "bias": True, "widen": "after_positions"},
    layer=transformed,
    causal_key=None,
    attention_dropout=ImpliedValue(0.0),
    keeps_pooler=True,
    names=EMBEDDING_NAMES
    | {name: theirs for name, theirs in LAYER_NAMES.items() if ".attn" not in name}
    | {
        "embed.project": "{root}.embeddings.projection",
        "layers.{i}.mixer_norm": "{root}.encoder.layer.{i}.fourier.output.LayerNorm",
    },
    head_names=HeadNames(
        decoder="cls.predictions.decoder",
        bias="cls.predictions.bias",
        has_decoder_bias=True,
        transform="cls.predictions.transform.dense",
        norm="cls.predictions.transform.LayerNorm",
    ),
    # With it, the class keeps matrices of the transform as complex buffers.
    constraints=(Constraint("use_tpu_fourier_optimizations", (False,)),),
    irrelevant="tpu_short_seq_length",
)

HEADS, ROWS = size("num_attention_heads", 12), size("max_position_embeddings", 512)
# The class widens heads to 32 by zeros, and scales scores by that width; it reads blocks of 32 tokens.
LEAST, BLOCK = 32, 32


def scale(config: Config) -> float | None:
    """Return the scale of the scores of heads that the class widens; None for other heads."""
    return LEAST**-0.5 if WIDTH.read(config) // HEADS.read(config) < LEAST else None


MRA = derive(
    BERT,
    "mra",
    "MraForMaskedLM",
    root="mra",
    vocab_size=size("vocab_size", 50265),
    n_ctx=ROWS,
    d_model=WIDTH,
    n_heads=HEADS,
    norm=layernorm(1e-5, "layer_norm_eps"),
    n_types=size("type_vocab_size", 1),
    positions={"kind": "learned", "n_extra": 2},
    attention=biases(True) | {"scale": ImpliedValue(scale)},
    causal_key=None,
    pooler=None,
    classifier=activation("gelu"),
    # All blocks in full resolution: this is attention itself, which is what runs.
    run_constraints=(Constraint("block_per_row", (ImpliedValue(lambda config: max(1, ROWS.read(config) // BLOCK)),)),),
    irrelevant="add_cross_attention approx_mode initial_prior_first_n_blocks initial_prior_diagonal_n_blocks",
    unused={r"mra\.embeddings\.position_ids": "the positions themselves"},
    needs_kernel=True,
    other_products=msg("the class computes scores in a CUDA kernel, and without it none; ours are those of all tokens"),
)

FAMILIES = (FNET, MRA)
