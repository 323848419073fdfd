"""BART-like encoder-decoders: biases everywhere, and separate keys for the encoder and the decoder."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, final

import msgspec

from archcalc.hf.config import Config
from archcalc.hf.family import Family
from archcalc.hf.lens import Cases, ConfigDraft, ConfigLens, Constraint, ImpliedValue, Key, Template
from archcalc.hf.spellings import Spelling
from archcalc.hf.stack import Schedule, StackLens, UniformSchedule
from archcalc.hf.tensors import TensorEntry, TensorMap, module, modules, table
from archcalc.hf.vocabulary import activation, biases, dropout, flag, keys, layers, size

NORM: dict[str, Any] = {"kind": "layernorm", "eps": 1e-5}
POSITION_TABLES = ("encoder.positions.weight", "decoder.positions.weight")
LOGITS_BIAS = "head.bias_buffer"
IRRELEVANT_KEYS = keys(
    "encoder_layerdrop decoder_layerdrop classif_dropout classifier_dropout extra_pos_embeddings add_bias_logits"
    " force_bos_token_to_be_generated"
)

# Keys about the encoder in configs of a decoder alone.
ENCODER_KEYS = keys(
    "encoder_layers encoder_ffn_dim encoder_attention_heads num_hidden_layers num_attention_heads"
    " share_encoder_decoder_embeddings use_prompt"
)


class BartDefaults(msgspec.Struct, frozen=True):
    """Defaults of a BART-like class; without a `scale_embedding`, it has no such key."""

    vocab_size: int
    n_ctx: int
    width: int
    n_layers: tuple[int, int]
    n_heads: int
    d_ff: int
    activation: str = "gelu"
    scale_embedding: bool | None = False
    attention_dropout: float = 0.0
    other_dropout: float = 0.1


@final
class OwnSize(ConfigLens, msgspec.Struct, frozen=True):
    """The key of a size of the encoder's own; null means that of the model, whose key is `shared_key`."""

    key: Key
    shared_key: str

    def names(self) -> Iterator[str]:
        """Yield the key's spellings."""
        yield from self.key.names()

    def read(self, config: Config) -> Any:
        """Return the key's value."""
        return self.key.read(config)

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put the key, with the model's size if the encoder has none of its own."""
        self.key.write(draft[self.shared_key] if value is None else value, draft)


class PartNames(msgspec.Struct, frozen=True):
    """The names that a class gives to its parts.

    - `outside`: the prefix of the token table
    - `base`: the prefix of 'encoder' and 'decoder'
    - `cross`: cross-attention
    - `ffn`: the prefix of the feed-forward's projections
    - `ffn_norm`: the feed-forward's norm
    - `width`: the keys of the model's width
    - `main`: the stack whose numbers of layers and heads also have keys without the stack's name
    - `head`: the head's matrix
    - `prompts`: the prompts of each attention
    - `final_norm`: the norm after the last layer
    - `encoder`: parts of an encoder's layer that have other names than in a decoder's
    """

    outside: str = "model."
    base: str = "model."
    cross: str = "encoder_attn"
    ffn: str = ""
    ffn_norm: str = "final_layer_norm"
    width: tuple[str, ...] = ("d_model", "hidden_size")
    main: str = "encoder"
    head: str = "lm_head"
    prompts: Mapping[str, str] = {}
    final_norm: str = "layer_norm"
    encoder: Mapping[str, str] = {}

    def prompt_parts(self) -> dict[str, str]:
        """Return the names of the parts of prompts."""
        parts = {"table": "prompt_embedding", "up": "prompt_trans.0", "down": "prompt_trans.2"}
        return {
            f"{arm}.{part}": f"{name}.{stored}" for arm, name in self.prompts.items() for part, stored in parts.items()
        }

    def layer(self) -> dict[str, str]:
        """Return the names of a layer's parts."""
        attentions = {"attn": "self_attn", "cross": self.cross}
        parts = {"q": "q_proj", "k": "k_proj", "v": "v_proj", "out": "out_proj"}
        projections = {
            f"{ours}.{part}": f"{theirs}.{name}" for ours, theirs in attentions.items() for part, name in parts.items()
        }
        norms = {f"{ours}_norm": f"{theirs}_layer_norm" for ours, theirs in attentions.items()}
        ffn = {"ffn.up": f"{self.ffn}fc1", "ffn.down": f"{self.ffn}fc2", "ffn_norm": self.ffn_norm}
        return projections | norms | ffn


class BartSwitches(msgspec.Struct, frozen=True):
    """The switches of a BART-like class.

    - `position`: the position table
    - `placement`: the placement of norms
    - `embed_norm`: whether the embedding has a norm
    - `final_norm`: whether the last layer is followed by a norm
    - `positionless_norm`: the stack whose embedding norm is applied before positions are added
    - `has_logits_bias`: whether a stored buffer is added to the logits
    - `names`: the class's names of its parts
    - `vocabulary`, `source_vocabulary`: the keys of the decoder's and the encoder's vocabulary, if there are two; then
      the stacks share no table
    - `has_own_tables`: the stacks have separate tables even if the head is tied
    - `prompts`: learned keys and values of the decoder, which a decoder alone does not have
    - `attention`: further fields of every attention
    - `encoder_attention`: the attention of the encoder, given that of the decoder
    - `encoder_kinds`, `schedule`: the attention of each kind of layer of the encoder, likewise, and each layer's kind
    - `encoder_fields`: further fields of the encoder
    - `lists`: keys with an item for each layer of the encoder, as in `StackLens`
    - `context`, `source_context`: the keys of the decoder's and the encoder's context, if there are two
    - `is_tied_alone`: whether the head of a decoder alone may be tied
    """

    defaults: BartDefaults
    position: Template
    placement: str = "post"
    embed_norm: ConfigLens | bool = True
    final_norm: bool = False
    positionless_norm: str | None = None
    has_logits_bias: bool = True
    names: PartNames = PartNames()
    vocabulary: ConfigLens | None = None
    source_vocabulary: OwnSize | None = None
    has_own_tables: bool = False
    is_tied: bool = True
    prompts: Template = None
    attention: Mapping[str, Any] = msgspec.field(default_factory=lambda: biases(True))
    encoder_attention: Callable[[Mapping[str, Any]], Template] = dict
    encoder_kinds: Mapping[str, Callable[[Mapping[str, Any]], Template]] = {}
    schedule: Schedule = UniformSchedule()
    encoder_fields: Mapping[str, Template] = {}
    lists: Mapping[str, str] = {}
    context: Key | None = None
    source_context: OwnSize | None = None
    is_tied_alone: bool = True

    @property
    def tie_key(self) -> Key:
        """Return the key that ties the head to the token table."""
        return flag("tie_word_embeddings", self.is_tied)

    @property
    def width(self) -> Key:
        """Return the key of the model's width."""
        name, *aliases = self.names.width
        return size(name, self.defaults.width, aliases=tuple(aliases))

    @property
    def has_fixed_positions(self) -> bool:
        """Return whether the position table is a fixed parameter."""
        return isinstance(self.position, Mapping) and bool(self.position.get("stored"))

    def embedding_scale(self, config: Config) -> float:
        """Return √d_model."""
        return math.sqrt(self.width.read(config))

    def layer(self, stack_name: str, *, is_alone: bool = False) -> dict[str, Any]:
        """Return a layer of a stack. A decoder that `is_alone` keeps its cross-attention."""
        aliases = ("num_attention_heads",) if stack_name == self.names.main else ()
        n_heads = size(f"{stack_name}_attention_heads", self.defaults.n_heads, aliases=aliases)
        attention = {"kind": "gqa", "n_heads": n_heads, **self.attention}
        return {
            "norm": NORM,
            "placement": self.placement,
            "attention": attention,
            "cross": attention if stack_name == "decoder" else None,
            "cross_reads": "nothing" if is_alone else "source",
            "ffn": {
                "kind": "plain",
                "d_ff": size(f"{stack_name}_ffn_dim", self.defaults.d_ff),
                "activation": activation(self.defaults.activation, "activation_function"),
                "bias": True,
            },
        }

    def kinds(self, stack_name: str, *, is_alone: bool) -> dict[str, Template]:
        """Return the kinds of layers of a stack."""
        layer = self.layer(stack_name, is_alone=is_alone)
        if stack_name == "decoder":
            return {"layer": layer}
        kinds = self.encoder_kinds or {"layer": self.encoder_attention}
        return {name: layer | {"attention": attention(layer["attention"])} for name, attention in kinds.items()}

    def stack(self, stack_name: str, *, is_alone: bool = False) -> StackLens:
        """Return the encoder or the decoder, which `is_alone` if there is no encoder."""
        n_layers = self.defaults.n_layers[stack_name == "decoder"]
        aliases = ("num_hidden_layers",) if stack_name == self.names.main else ()
        if stack_name == self.positionless_norm:
            embed_norm = self.norm_of_tokens()
        else:
            embed_norm = {"embed_norm": _optional_norm(self.embed_norm)}
        stack_fields = {"position": self.position, **embed_norm, "final_norm": _optional_norm(self.final_norm)}
        if stack_name == "decoder" and not is_alone and self.prompts is not None:
            stack_fields["prompts"] = self.prompts
        depth = layers(n_layers, f"{stack_name}_layers", aliases=aliases)
        kinds = self.kinds(stack_name, is_alone=is_alone)
        if stack_name == "decoder":
            return StackLens(depth, kinds, stack_fields=stack_fields)
        if self.source_context is not None:
            stack_fields["n_ctx"] = self.source_context
        return StackLens(depth, kinds, self.schedule, stack_fields | dict(self.encoder_fields), self.lists)

    @property
    def scale_key(self) -> Key:
        """Return the key that scales the embedding by √d_model."""
        return flag("scale_embedding", bool(self.defaults.scale_embedding))

    def norm_of_tokens(self) -> dict[str, Template]:
        """Return the embedding norm of a class that norms unscaled tokens.

        Ours norms scaled ones, which is the same with d_model times the epsilon.
        """
        scaled_eps = ImpliedValue(lambda config: NORM["eps"] * self.width.read(config))
        eps = Cases(self.scale_key, {False: NORM["eps"], True: scaled_eps})
        return {"embed_norm": NORM | {"eps": eps}, "embed_norm_reads": "tokens"}

    def template(self) -> dict[str, Template]:
        """Return the template of the encoder-decoder."""
        buffer = {"bias_buffer": ImpliedValue(True)} if self.has_logits_bias else {}
        encoder, decoder = self.stack("encoder"), self.stack("decoder")
        encoder = msgspec.structs.replace(encoder, stack_fields={**encoder.stack_fields, **self.source_embedding()})
        stacks = {"encoder": encoder, "decoder": decoder, "head": {"tied": self.tie_key} | buffer}
        # Untied, each stack has a table of its own, and the shared table exists but is never read.
        shared = {"name": "shared.weight", "axes": ("vocab_size", "d_model"), "component": "embedding"}
        extras = Cases(self.tie_key, {True: (), False: (shared,)})
        return self.causal() | stacks | ({} if self.source_vocabulary else {"extras": extras})

    def source_embedding(self) -> dict[str, Template]:
        """Return the encoder's own token table, with a vocabulary that may be its own."""
        fields = {"embedding": self.embedding, "vocab_size": self.source_vocabulary}
        if self.has_own_tables:
            return fields
        return {name: Cases(self.tie_key, {True: None, False: field}) for name, field in fields.items()}

    @property
    def embedding(self) -> dict[str, Template]:
        """Return the fields of the token embedding."""
        if self.defaults.scale_embedding is None:
            return {"scale": None}
        return {"scale": Cases(self.scale_key, {False: None, True: ImpliedValue(self.embedding_scale)})}

    def causal(self) -> dict[str, Template]:
        """Return the template of the decoder alone."""
        rate = dropout("dropout", self.defaults.other_dropout)
        return {
            "vocab_size": self.vocabulary or size("vocab_size", self.defaults.vocab_size),
            "n_ctx": self.context or size("max_position_embeddings", self.defaults.n_ctx),
            "d_model": self.width,
            "embedding": self.embedding,
            "decoder": self.stack("decoder", is_alone=True),
            "head": {"tied": self.tie_key if self.is_tied_alone else False},
            "dropout": {
                "embedding": rate,
                "attention": dropout("attention_dropout", self.defaults.attention_dropout),
                "residual": rate,
                "ffn": dropout("activation_dropout", 0.0),
            },
        }

    def stack_tensors(self, stack_name: str, prefix: str) -> tuple[TensorEntry, ...]:
        """Return the tensors of the encoder or the decoder, whose canonical names have this prefix."""
        outer = {
            "positions": "embed_positions",
            "global_tokens": "embed_global",
            "embed_norm": "layernorm_embedding",
            "final_norm": self.names.final_norm,
        }
        base = f"{self.names.base}{stack_name}."
        layer = self.names.layer() | (dict(self.names.encoder) if stack_name == "encoder" else {})
        return (
            *modules(outer, prefix, base),
            *modules(self.names.prompt_parts(), f"{prefix}prompts.", base),
            *modules(layer, f"{prefix}layers.{{i}}.", f"{base}layers.{{i}}."),
        )

    @property
    def tied_table(self) -> str:
        """Return the class's name of the table that a tied head uses."""
        if self.has_own_tables:
            return f"{self.names.base}decoder.embed_tokens"
        return f"{self.names.base}encoder.embed_tokens" if self.source_vocabulary else f"{self.names.outside}shared"

    def tensors(self) -> TensorMap:
        """Return the tensors of the encoder-decoder."""
        own, base = "encoder.embed.tokens.weight", self.names.base
        return table(
            TensorEntry(f"{base}decoder.embed_tokens.weight", ("embed.tokens.weight",), requires=own),
            TensorEntry(f"{base}encoder.embed_tokens.weight", (own,)),
            module("embed.tokens", self.tied_table),
            TensorEntry(f"{self.names.outside}shared.weight", ("extras.shared.weight",)),
            self.stack_tensors("encoder", "encoder."),
            self.stack_tensors("decoder", "decoder."),
            module("head", self.names.head),
            TensorEntry("final_logits_bias", (LOGITS_BIAS,)),
        )

    def causal_tensors(self, head: str) -> TensorMap:
        """Return the tensors of the decoder alone. `head` is the class's name of the head's matrix."""
        return table(
            module("embed.tokens", f"{self.names.base}decoder.embed_tokens"),
            self.stack_tensors("decoder", ""),
            module("head", head),
        )

    def causal_spelling(self, head: str) -> Spelling:
        """Return how files spell the tensors of the decoder alone."""
        return Spelling(
            copies={f"{head}.weight": f"{self.names.base}decoder.embed_tokens.weight"},
            computed=("positions.weight",) if self.has_fixed_positions else (),
        )

    def spelling(self) -> Spelling:
        """Return how files spell the tensors of the encoder-decoder."""
        names = self.names
        of_encoder, of_decoder = (f"{names.base}{stack_name}.embed_tokens" for stack_name in ("encoder", "decoder"))
        tables = set() if self.has_own_tables else {of_encoder, of_decoder}
        return Spelling(
            copies={
                f"{name}.weight": f"{self.tied_table}.weight"
                for name in (*sorted(tables - {self.tied_table}), names.head)
            },
            # A common table is saved under the decoder's name only.
            absent={f"{of_encoder}.weight": f"{of_decoder}.weight"} if self.tied_table == of_encoder else {},
            # Fixed tables are not saved.
            computed=(*(POSITION_TABLES if self.has_fixed_positions else ()), LOGITS_BIAS),
        )


def _optional_norm(condition: ConfigLens | bool) -> Template:
    """Return a norm if there is one; a lens decides by the config."""
    return (NORM if condition else None) if isinstance(condition, bool) else Cases(condition, {True: NORM, False: None})


def decoder_alone(
    model_type: str,
    causal: str,
    bart: BartSwitches,
    constraints: tuple[Constraint, ...] = (),
    irrelevant: frozenset[str] = frozenset(),
    fixed_keys: Mapping[str, Any] | None = None,
    head: str = "lm_head",
) -> Family:
    """Return the row of the class `causal`: a decoder that keeps its cross-attention, although there is no encoder."""
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
    """Return the row of a model type: `conditional` is its encoder-decoder class, `causal` its decoder alone.

    `pair_constraints` apply to the encoder-decoder only.
    """
    is_alone = decoder_alone(model_type, causal, bart, constraints, irrelevant, fixed_keys) if causal else None
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
        forms=(*forms, *((is_alone,) if is_alone else ())),
    )
