"""Encoders whose attention has convolutions beside it: Nyströmformer, YOSO, ConvBERT."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, final

import msgspec

from archcalc.hf.config import Config, ValueType
from archcalc.hf.families.bert_like import ELECTRA
from archcalc.hf.families.mixing_like import MRA
from archcalc.hf.family import derive
from archcalc.hf.heads import scores
from archcalc.hf.lens import ConfigDraft, ConfigLens, Constraint, ImpliedValue, Key, Template
from archcalc.hf.templates.bert_like import EMBEDDING_NAMES, LAYER_NAMES
from archcalc.hf.tensors import TensorEntry
from archcalc.hf.vocabulary import EmbeddingFactor, activation, biases, layernorm, size
from archcalc.words import msg

ODD = ValueType(lambda value: type(value) is int and value > 0 and value % 2 == 1, "an odd number")


def convolved(**fields: Any) -> Callable[[Mapping[str, Any]], Template]:
    """Return a function from an attention to one with convolutions."""
    return lambda attention: {**attention, "kind": "convolved", **fields}


# The filter of each head has a further axis, over the width of the head.
VALUE_CONV = TensorEntry(
    "{root}.encoder.layer.{i}.attention.self.conv.weight", ("layers.{i}.attn.value_conv.weight",), unit_axes=(3,)
)
SEQUENCE = size("segment_means_seq_len", 64)
NYSTROMFORMER = derive(
    MRA,
    "nystromformer",
    "NystromformerForMaskedLM",
    root="nystromformer",
    vocab_size=size("vocab_size", 30000),
    n_ctx=size("max_position_embeddings", 510),
    n_types=size("type_vocab_size", 2),
    activation=activation("gelu_new"),
    classifier=activation("gelu_new"),
    attention=biases(True),
    encoder_attention=convolved(d_value_conv=Key("conv_kernel_size", ODD, 65)),
    attention_dropout=ImpliedValue(0.0),
    entries=(msgspec.structs.replace(VALUE_CONV, name=VALUE_CONV.name.replace("{root}", "nystromformer")),),
    # The class reads a key of another name than the config has.
    constraints=(Constraint("inv_coeff_init_option", (False,)),),
    # With as many landmarks as tokens, the class computes attention itself; with fewer, it approximates it.
    run_constraints=(Constraint("num_landmarks", (SEQUENCE,)),),
    irrelevant="add_cross_attention segment_means_seq_len num_landmarks attention_probs_dropout_prob",
    other_products=msg(
        "the class computes products of landmarks, whose number the config states; ours are those of all tokens"
    ),
)


YOSO = derive(
    MRA,
    "yoso",
    "YosoForMaskedLM",
    root="yoso",
    n_ctx=size("max_position_embeddings", 4096),
    norm=layernorm(1e-12, "layer_norm_eps"),
    attention=biases(True),
    encoder_attention=convolved(
        n_hashes=size("hash_code_len", 9), d_value_conv=Key("conv_window", ODD, None, null=None)
    ),
    attention_dropout=ImpliedValue(0.0),
    entries=(msgspec.structs.replace(VALUE_CONV, name=VALUE_CONV.name.replace("{root}", "yoso")),),
    # The expectation is what runs; otherwise the class draws hashes at random.
    run_constraints=(Constraint("use_expectation", (True,)),),
    irrelevant="add_cross_attention use_expectation num_hash use_fast_hash lsh_backward attention_probs_dropout_prob",
    other_products=None,
    needs_kernel=False,
)

HEADS, WIDTH = size("num_attention_heads", 12), size("hidden_size", 768)
FFN_WIDTH = size("intermediate_size", 3072)
RATIO, GROUPS = size("head_ratio", 2), size("num_groups", 1)


@final
class AttendingHeads(ConfigLens, msgspec.Struct, frozen=True):
    """The heads of ConvBERT that attend: a share of all, at least one. As many are convolutions."""

    def names(self) -> Iterator[str]:
        """Yield the keys of all heads and of the ratio."""
        yield from (*HEADS.names(), *RATIO.names())

    def read(self, config: Config) -> int:
        """Return the number. Raises InputError if it does not divide half of the width."""
        n_heads: int = max(1, HEADS.read(config) // RATIO.read(config))
        if WIDTH.read(config) % (2 * n_heads):
            raise config.error(
                WIDTH.name, WIDTH.read(config), f"a multiple of {2 * n_heads}, twice the heads that attend"
            )
        return n_heads

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put as many heads, and no ratio."""
        draft.put(HEADS.name, value)
        draft.put(RATIO.name, 1)


@final
class OwnChannels(ConfigLens, msgspec.Struct, frozen=True):
    """The channels that a group of outputs reads; None if there is one group."""

    width: Key

    def names(self) -> Iterator[str]:
        """Yield the key of the groups."""
        yield from GROUPS.names()

    def read(self, config: Config) -> int | None:
        """Return the channels. Raises InputError if groups do not divide the width."""
        n_groups, width = GROUPS.read(config), self.width.read(config)
        if width % n_groups:
            raise config.error(GROUPS.name, n_groups, f"a divisor of {self.width.name}, {width}")
        return None if n_groups == 1 else width // n_groups

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put the number of groups. The width must be in the draft already."""
        draft.put(GROUPS.name, 1 if value is None else self.width.read(Config(draft)) // value)


def half_width(config: Config) -> int:
    """Return the width of a head: those that attend have half of all channels."""
    n_heads = AttendingHeads().read(config)
    width: int = WIDTH.read(config) // n_heads // 2
    return width


INNER = {"ffn.up": "intermediate.dense", "ffn.down": "output.dense"}
SPAN = {
    "key_conv.depthwise": "key_conv_attn_layer.depthwise",
    "key_conv.pointwise": "key_conv_attn_layer.pointwise",
    "kernels": "conv_kernel_layer",
    "span_v": "conv_out_layer",
}
SEPARABLE = "convbert.encoder.layer.{i}.attention.self.key_conv_attn_layer"


def grouped_entries(config: Config) -> tuple[TensorEntry, ...]:
    """Return the matrices of the feed-forward, which are stored group by group if there are several."""
    n_groups = GROUPS.read(config)
    if n_groups == 1:
        return ()
    return tuple(
        TensorEntry(f"convbert.encoder.layer.{{i}}.{name}.weight", (f"layers.{{i}}.{ours}.weight",), n_blocks=n_groups)
        for ours, name in INNER.items()
    )


CONVBERT = derive(
    ELECTRA,
    "convbert",
    "ConvBertForMaskedLM",
    root="convbert",
    d_model=WIDTH,
    n_heads=AttendingHeads(),
    d_ff=FFN_WIDTH,
    factor=EmbeddingFactor(size("embedding_size", 768), WIDTH, {"bias": True, "widen": "after_positions"}),
    head_width=size("embedding_size", 768),
    attention=biases(True) | {"d_head": ImpliedValue(half_width)},
    encoder_attention=convolved(d_span_conv=Key("conv_kernel_size", ODD, 9)),
    ffn={"kind": "plain", "bias": True, "up_block": OwnChannels(WIDTH), "down_block": OwnChannels(FFN_WIDTH)},
    causal_key=None,
    classifier=activation("gelu"),
    class_heads={"ForMultipleChoice": {"head": scores(1, reads="last")}},
    names=EMBEDDING_NAMES
    | LAYER_NAMES
    | {"embed.project": "{root}.embeddings_project"}
    | {
        f"layers.{{i}}.attn.{ours}": f"{{root}}.encoder.layer.{{i}}.attention.self.{name}"
        for ours, name in SPAN.items()
    },
    entries=(TensorEntry(f"{SEPARABLE}.bias", ("layers.{i}.attn.key_conv.bias",), unit_axes=(1,)),),
    entries_of=grouped_entries,
    irrelevant="is_decoder",
    unused={},
)

FAMILIES = (NYSTROMFORMER, YOSO, CONVBERT)
