"""BART and its relatives: encoder-decoders with biases everywhere, whose sides have keys of their own."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, final

import msgspec

from archcalc.hf.config import Config
from archcalc.hf.family import Family
from archcalc.hf.lens import Cases, ConfigDraft, Constraint, ImpliedValue, Key, Lens, Template
from archcalc.hf.spellings import Spelling
from archcalc.hf.stack import StackLens
from archcalc.hf.tensors import TensorEntry, TensorMap, module, modules, table
from archcalc.hf.vocabulary import activation, biases, dropout, flag, keys, layers, size

NORM: dict[str, Any] = {"kind": "layernorm", "eps": 1e-5}
TABLES = ("encoder.positions.weight", "decoder.positions.weight")
BUFFER = "head.bias_buffer"
IRRELEVANT_KEYS = keys(
    "encoder_layerdrop decoder_layerdrop classif_dropout classifier_dropout extra_pos_embeddings add_bias_logits"
    " force_bos_token_to_be_generated"
)

# What a config says of the encoder, read by a class that has none.
ENCODER_KEYS = keys(
    "encoder_layers encoder_ffn_dim encoder_attention_heads num_hidden_layers num_attention_heads"
    " share_encoder_decoder_embeddings use_prompt"
)


class BartDefaults(msgspec.Struct, frozen=True):
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


@final
class SourceVocabulary(Lens, msgspec.Struct, frozen=True):
    """The encoder's vocabulary under a key; null stands for the model's, which is under the key `of_model`."""

    key: Key
    shared_key: str

    def names(self) -> Iterator[str]:
        """Yield the key's."""
        yield from self.key.names()

    def read(self, config: Config) -> Any:
        """Return the key's value."""
        return self.key.read(config)

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Write the key, as the model's vocabulary is written where there is none of its own."""
        self.key.write(draft[self.shared_key] if value is None else value, draft)


class PartNames(msgspec.Struct, frozen=True):
    """What a class calls things: `outside` stands before the token table, `base` before 'encoder' and 'decoder'.

    `cross`: cross-attention. `ffn`: before the feed-forward's projections. `ffn_norm`: its norm. `width`: the keys of
    the model's width. `main`: the side whose layers and heads have a name without it too. `head`: the head's matrix.
    """

    outside: str = "model."
    base: str = "model."
    cross: str = "encoder_attn"
    ffn: str = ""
    ffn_norm: str = "final_layer_norm"
    width: tuple[str, ...] = ("d_model", "hidden_size")
    main: str = "encoder"
    head: str = "lm_head"

    def layer(self) -> dict[str, str]:
        """Return the names of a layer's parts."""
        attentions = {"attn": "self_attn", "cross": self.cross}
        parts = {"q": "q_proj", "k": "k_proj", "v": "v_proj", "out": "out_proj"}
        projections = {
            f"{ours}.{part}": f"{there}.{name}" for ours, there in attentions.items() for part, name in parts.items()
        }
        norms = {f"{ours}_norm": f"{there}_layer_norm" for ours, there in attentions.items()}
        ffn = {"ffn.up": f"{self.ffn}fc1", "ffn.down": f"{self.ffn}fc2", "ffn_norm": self.ffn_norm}
        return projections | norms | ffn


class BartSwitches(msgspec.Struct, frozen=True):
    """The switches of a class of BART's kind.

    `position`: the table beside the tokens. `placement`: where norms stand. `embed_norm`: whether there is a norm on
    the embedding; `final_norm`: whether there is one after the last layer. `norms_tokens`: the side whose embedding
    norm leaves positions out. `logits_bias`: whether a stored buffer is added to the logits. `names`: what the class
    calls its parts. `vocabulary`: the key of the decoder's, `source_vocabulary` that of the encoder's, if there are
    two: then no table is shared by both sides. `apart`: they have tables of their own even if the head is tied.
    """

    defaults: BartDefaults
    position: Template
    placement: str = "post"
    embed_norm: Lens | bool = True
    final_norm: bool = False
    positionless_norm: str | None = None
    has_logits_bias: bool = True
    names: PartNames = PartNames()
    vocabulary: Lens | None = None
    source_vocabulary: SourceVocabulary | None = None
    has_own_tables: bool = False
    is_tied: bool = True

    @property
    def tied(self) -> Key:
        """Return whether the head's matrix is the token table."""
        return flag("tie_word_embeddings", self.is_tied)

    @property
    def width(self) -> Key:
        """Return the key of the model's width."""
        name, *aliases = self.names.width
        return size(name, self.defaults.width, aliases=tuple(aliases))

    @property
    def stored(self) -> bool:
        """Return whether the table of positions is a fixed parameter."""
        return isinstance(self.position, Mapping) and bool(self.position.get("stored"))

    def root(self, config: Config) -> float:
        """Return √d_model."""
        return math.sqrt(self.width.read(config))

    def layer(self, side: str, *, alone: bool = False) -> dict[str, Any]:
        """Return a layer of the encoder or the decoder, which `alone` keeps its cross-attention."""
        aliases = ("num_attention_heads",) if side == self.names.main else ()
        n_heads = size(f"{side}_attention_heads", self.defaults.n_heads, aliases=aliases)
        attention = {"kind": "gqa", "n_heads": n_heads, **biases(True)}
        return {
            "norm": NORM,
            "placement": self.placement,
            "attention": attention,
            "cross": attention if side == "decoder" else None,
            "cross_reads": "nothing" if alone else "source",
            "ffn": {
                "kind": "plain",
                "d_ff": size(f"{side}_ffn_dim", self.defaults.d_ff),
                "activation": activation(self.defaults.activation, "activation_function"),
                "bias": True,
            },
        }

    def stack(self, side: str, *, alone: bool = False) -> StackLens:
        """Return the encoder or the decoder, `alone` without an encoder."""
        n_layers = self.defaults.n_layers[side == "decoder"]
        aliases = ("num_hidden_layers",) if side == self.names.main else ()
        stack_fields = {
            "position": self.position,
            **(self.norm_of_tokens() if side == self.positionless_norm else {"embed_norm": _if(self.embed_norm)}),
            "final_norm": _if(self.final_norm),
        }
        kinds = {"layer": self.layer(side, alone=alone)}
        return StackLens(layers(n_layers, f"{side}_layers", aliases=aliases), kinds, stack_fields=stack_fields)

    @property
    def scaled(self) -> Key:
        """Return whether the embedding is multiplied by √d_model."""
        return flag("scale_embedding", self.defaults.scale_embedding)

    def norm_of_tokens(self) -> dict[str, Template]:
        """Return a norm of tokens that the class does not scale: after ours, d_model times the epsilon is the same."""
        larger = ImpliedValue(lambda config: NORM["eps"] * self.width.read(config))
        eps = Cases(self.scaled, {False: NORM["eps"], True: larger})
        return {"embed_norm": NORM | {"eps": eps}, "embed_norm_reads": "tokens"}

    def template(self) -> dict[str, Template]:
        """Return the template of the encoder-decoder."""
        buffer = {"bias_buffer": ImpliedValue(True)} if self.has_logits_bias else {}
        encoder, decoder = self.stack("encoder"), self.stack("decoder")
        encoder = msgspec.structs.replace(encoder, stack_fields={**encoder.stack_fields, **self.source_embedding()})
        sides = {"encoder": encoder, "decoder": decoder, "head": {"tied": self.tied} | buffer}
        # Untied, each side has a table of its own, and the one that both would share is there and never read.
        shared = {"name": "shared.weight", "axes": ("vocab_size", "d_model"), "component": "embedding"}
        extras = Cases(self.tied, {True: (), False: (shared,)})
        return self.causal() | sides | ({} if self.source_vocabulary else {"extras": extras})

    def source_embedding(self) -> dict[str, Template]:
        """Return the encoder's own token table, with a vocabulary that may be its own."""
        own = {"embedding": self.embedding, "vocab_size": self.source_vocabulary}
        return (
            own
            if self.has_own_tables
            else {name: Cases(self.tied, {True: None, False: part}) for name, part in own.items()}
        )

    @property
    def embedding(self) -> dict[str, Template]:
        """Return how tokens are embedded."""
        return {"scale": Cases(self.scaled, {False: None, True: ImpliedValue(self.root)})}

    def causal(self) -> dict[str, Template]:
        """Return the template of the decoder alone."""
        rate = dropout("dropout", 0.1)
        return {
            "vocab_size": self.vocabulary or size("vocab_size", self.defaults.vocab_size),
            "n_ctx": size("max_position_embeddings", self.defaults.n_ctx),
            "d_model": self.width,
            "embedding": self.embedding,
            "decoder": self.stack("decoder", alone=True),
            "head": {"tied": self.tied},
            "dropout": {
                "embedding": rate,
                "attention": dropout("attention_dropout", self.defaults.attention_dropout),
                "residual": rate,
                "ffn": dropout("activation_dropout", 0.0),
            },
        }

    def side(self, side: str, ours: str) -> tuple[TensorEntry, ...]:
        """Return the tensors of the encoder or the decoder, whose own names begin with `ours`."""
        outside = {"positions": "embed_positions", "embed_norm": "layernorm_embedding", "final_norm": "layer_norm"}
        base = f"{self.names.base}{side}."
        return (
            *modules(outside, ours, base),
            *modules(self.names.layer(), f"{ours}layers.{{i}}.", f"{base}layers.{{i}}."),
        )

    @property
    def shared(self) -> str:
        """Return what the class calls the table of the head, if that is tied."""
        if self.has_own_tables:
            return f"{self.names.base}decoder.embed_tokens"
        return f"{self.names.base}encoder.embed_tokens" if self.source_vocabulary else f"{self.names.outside}shared"

    def tensors(self) -> TensorMap:
        """Return the tensors of the encoder-decoder."""
        own, base = "encoder.embed.tokens.weight", self.names.base
        return table(
            TensorEntry(f"{base}decoder.embed_tokens.weight", ("embed.tokens.weight",), requires=own),
            TensorEntry(f"{base}encoder.embed_tokens.weight", (own,)),
            module("embed.tokens", self.shared),
            TensorEntry(f"{self.names.outside}shared.weight", ("extras.shared.weight",)),
            self.side("encoder", "encoder."),
            self.side("decoder", "decoder."),
            module("head", self.names.head),
            TensorEntry("final_logits_bias", (BUFFER,)),
        )

    def causal_tensors(self, head: str) -> TensorMap:
        """Return the tensors of the decoder alone, whose head's matrix is called `head`."""
        return table(
            module("embed.tokens", f"{self.names.base}decoder.embed_tokens"),
            self.side("decoder", ""),
            module("head", head),
        )

    def causal_spelling(self, head: str) -> Spelling:
        """Return how files spell the tensors of the decoder alone."""
        return Spelling(
            copies={f"{head}.weight": f"{self.names.base}decoder.embed_tokens.weight"},
            computed=("positions.weight",) if self.stored else (),
        )

    def spelling(self) -> Spelling:
        """Return how files spell the tensors of the encoder-decoder."""
        names = self.names
        of_encoder, of_decoder = (f"{names.base}{side}.embed_tokens" for side in ("encoder", "decoder"))
        tables = set() if self.has_own_tables else {of_encoder, of_decoder}
        return Spelling(
            copies={
                f"{name}.weight": f"{self.shared}.weight" for name in (*sorted(tables - {self.shared}), names.head)
            },
            # The encoder's table is saved under the decoder's name alone where they are one.
            absent={f"{of_encoder}.weight": f"{of_decoder}.weight"} if self.shared == of_encoder else {},
            # They are not saved where they are fixed.
            computed=(*(TABLES if self.stored else ()), BUFFER),
        )


def _if(there: Lens | bool) -> Template:
    """Return a norm, if there is one; a lens says so by the config."""
    return (NORM if there else None) if isinstance(there, bool) else Cases(there, {True: NORM, False: None})


def decoder_alone(
    model_type: str,
    causal: str,
    bart: BartSwitches,
    constraints: tuple[Constraint, ...] = (),
    irrelevant: frozenset[str] = frozenset(),
    fixed_keys: Mapping[str, Any] | None = None,
    head: str = "lm_head",
) -> Family:
    """Return the row of the class `causal`, a decoder that keeps its cross-attention though there is no encoder."""
    return Family(
        model_type,
        (causal,),
        bart.causal(),
        bart.causal_tensors(head),
        constraints,
        IRRELEVANT_KEYS | ENCODER_KEYS | irrelevant,
        spelling=bart.causal_spelling(head),
        fixed_keys=fixed_keys or {},
    )


def bart_like(
    model_type: str,
    conditional: str,
    causal: str | None,
    bart: BartSwitches,
    constraints: tuple[Constraint, ...] = (),
    pair_constraints: tuple[Constraint, ...] = (),
    irrelevant: frozenset[str] = frozenset(),
    fixed_keys: Mapping[str, Any] | None = None,
    forms: tuple[Family, ...] = (),
) -> Family:
    """Return the row of a model type whose encoder-decoder is the class `conditional`, its decoder alone `causal`.

    `must_pair`: rules for the encoder-decoder alone.
    """
    alone = decoder_alone(model_type, causal, bart, constraints, irrelevant, fixed_keys) if causal else None
    return Family(
        model_type,
        (conditional,),
        bart.template(),
        bart.tensors(),
        (Constraint("is_decoder", (False,)), *constraints, *pair_constraints),
        IRRELEVANT_KEYS | irrelevant,
        is_encoder_decoder=True,
        spelling=bart.spelling(),
        fixed_keys=fixed_keys or {},
        forms=(*forms, *((alone,) if alone else ())),
    )
