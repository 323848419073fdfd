"""Encoders whose layers work at a narrower width than their stream: MobileBERT."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, final

import msgspec

from archcalc.hf.config import FLAG, TEXT, Config
from archcalc.hf.families.bert_like import ABSOLUTE, BERT
from archcalc.hf.family import derive
from archcalc.hf.heads import summary_switch
from archcalc.hf.lens import (
    Cases,
    Choice,
    ConfigDraft,
    ConfigLens,
    Constraint,
    Key,
    MismatchError,
    Template,
    names,
    read,
    write,
)
from archcalc.hf.templates.bert_like import EMBEDDING_NAMES, LAYER_NAMES
from archcalc.hf.tensors import TensorEntry, module
from archcalc.hf.vocabulary import activation, biases, dropout, flag, layernorm, layers, positive, size

WIDTH, NARROW, TABLE = size("hidden_size", 512), size("intra_bottleneck_size", 128), size("embedding_size", 128)
HAS_BOTTLENECK = flag("use_bottleneck", True)
N_FFNS = size("num_feedforward_networks", 4)
KIND = Choice(Key("normalization_type", TEXT, "no_norm"), {"no_norm": "affine", "layer_norm": "layernorm"})


def norm(eps: Template) -> Template:
    """Return the norm that the config names, with this epsilon if it has one."""
    return Cases(KIND, {"affine": {"kind": "affine"}, "layernorm": {"kind": "layernorm", "eps": eps}})


# The class gives some norms its epsilon, and leaves to others that of PyTorch.
NORM, DEFAULT_NORM = norm(positive("layer_norm_eps", 1e-12)), norm(1e-5)


@final
class NarrowTable(ConfigLens, msgspec.Struct, frozen=True):
    """The width of the token table, which is less than that of the states."""

    def names(self) -> Iterator[str]:
        """Yield the key of the width."""
        yield from TABLE.names()

    def read(self, config: Config) -> int:
        """Return the width. Raises InputError unless it is less than the model's."""
        d_embed: int = TABLE.read(config)
        if d_embed >= WIDTH.read(config):
            raise config.error(TABLE.name, d_embed, f"less than {WIDTH.name}, {WIDTH.read(config)}")
        return d_embed

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put the width."""
        TABLE.write(value, draft)


@final
class LayerWidth(ConfigLens, msgspec.Struct, frozen=True):
    """The width that the parts of a layer work at, which files state a second time."""

    def names(self) -> Iterator[str]:
        """Yield the keys that it follows from."""
        yield from (*HAS_BOTTLENECK.names(), *NARROW.names(), *WIDTH.names())

    def read(self, config: Config) -> int:
        """Return the width."""
        width: int = (NARROW if HAS_BOTTLENECK.read(config) else WIDTH).read(config)
        return width

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put nothing."""


@final
class FfnBranches(ConfigLens, msgspec.Struct, frozen=True):
    """The branches of a layer: attention, then several feed-forwards, of which the last has a norm of its own kind."""

    attention: Mapping[str, Any]
    ffn: Mapping[str, Any]

    def names(self) -> Iterator[str]:
        """Yield the keys of the parts, of the norms and of the number of feed-forwards."""
        yield from (*names(self.attention), *names(self.ffn), *names(NORM), *N_FFNS.names())

    def _branches(self, n_ffns: int) -> tuple[Template, ...]:
        parts = {"attn": self.attention} | {f"ffn_{j}": self.ffn for j in range(n_ffns - 1)} | {"ffn": self.ffn}
        return tuple(
            {
                "arms": ({"name": name, "part": part},),
                "norm_after": DEFAULT_NORM if name == "ffn" else NORM,
            }
            for name, part in parts.items()
        )

    def read(self, config: Config) -> Any:
        """Return the branches."""
        return read(self._branches(N_FFNS.read(config)), config)

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put the keys of the parts and the number of feed-forwards. Raises MismatchError for other branches."""
        if not isinstance(value, list | tuple) or len(value) < 2:
            raise MismatchError
        N_FFNS.write(len(value) - 1, draft)
        write(self._branches(len(value) - 1), value, draft)


# Queries and keys have a projection of their own unless attention reads the stream, where the class keeps it unused.
# Without it they would read states of another width than their matrices.
KEYS = Cases(
    flag("use_bottleneck_attention", False),
    {
        False: Choice(Key("key_query_shared_bottleneck", FLAG, True), {True: "own"}),
        True: Choice(Key("key_query_shared_bottleneck", FLAG, True), {True: "stored", False: "stream"}),
    },
)
BOTTLENECK = Cases(HAS_BOTTLENECK, {True: {"d_bottleneck": NARROW, "norm": NORM, "keys": KEYS}, False: None})


def narrow_layer(layer: Mapping[str, Any]) -> dict[str, Any]:
    """Return a layer with a bottleneck and several feed-forwards."""
    ffn = {"kind": "plain", **layer["ffn"]}
    return {"bottleneck": BOTTLENECK, "branches": FfnBranches(layer["attention"], ffn)}


LAYER = "mobilebert.encoder.layer.{i}."
BOTTLENECK_NAMES = {
    "layers.{i}.bottleneck.down": "{root}.encoder.layer.{i}.bottleneck.input.dense",
    "layers.{i}.bottleneck.down_norm": "{root}.encoder.layer.{i}.bottleneck.input.LayerNorm",
    "layers.{i}.bottleneck.keys": "{root}.encoder.layer.{i}.bottleneck.attention.dense",
    "layers.{i}.bottleneck.keys_norm": "{root}.encoder.layer.{i}.bottleneck.attention.LayerNorm",
    "layers.{i}.bottleneck.up": "{root}.encoder.layer.{i}.output.bottleneck.dense",
    "layers.{i}.bottleneck.up_norm": "{root}.encoder.layer.{i}.output.bottleneck.LayerNorm",
}


def ffn_entries(config: Config) -> tuple[TensorEntry, ...]:
    """Return the tensors of the feed-forwards before the last."""
    found: list[TensorEntry] = []
    for j in range(N_FFNS.read(config) - 1):
        ours = {"ffn_{j}.up": "intermediate.dense", "ffn_{j}.down": "output.dense", "ffn_{j}_norm": "output.LayerNorm"}
        for name, theirs in ours.items():
            found += module(f"layers.{{i}}.{name}".replace("{j}", str(j)), f"{LAYER}ffn.{j}.{theirs}")
    return tuple(found)


MOBILEBERT = derive(
    BERT,
    "mobilebert",
    "MobileBertForMaskedLM",
    root="mobilebert",
    d_model=WIDTH,
    n_layers=layers(24),
    n_heads=size("num_attention_heads", 4),
    d_ff=size("intermediate_size", 512),
    activation=activation("relu"),
    norm=NORM,
    head_norm=layernorm(1e-12, "layer_norm_eps"),
    first_norm=DEFAULT_NORM,
    factor={
        "d_embed": NarrowTable(),
        "bias": True,
        "n_neighbors": Choice(Key("trigram_input", FLAG, True), {True: 1, False: 0}),
    },
    head_width=NarrowTable(),
    own_columns=True,
    attention=biases(True),
    layer=narrow_layer,
    causal_key=None,
    # The other classes read a pooler, which has a matrix with this switch only.
    pooler=summary_switch("classifier_activation", "tanh"),
    classifier=summary_switch("classifier_activation", "tanh"),
    n_relations=summary_switch("classifier_activation", 2),
    dropout=dropout("hidden_dropout_prob", 0.0),
    names=EMBEDDING_NAMES
    | {"embed.project": "{root}.embeddings.embedding_transformation"}
    | LAYER_NAMES
    | BOTTLENECK_NAMES,
    entries=(TensorEntry("cls.predictions.dense.weight", ("head.columns.weight",), transposed=True),),
    entries_of=ffn_entries,
    constraints=(ABSOLUTE, Constraint("true_hidden_size", (LayerWidth(),))),
    irrelevant="",
)

FAMILIES = (MOBILEBERT,)
