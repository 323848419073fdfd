"""The template of BERT-like families: its switches, and the family that they build."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, final

import msgspec

from archcalc.hf.config import Config
from archcalc.hf.family import Family, row_builder
from archcalc.hf.gguf_map import GgufMap
from archcalc.hf.heads import EVERY_TOKEN, LABELS, NONE, extra_modules, scores
from archcalc.hf.lens import (
    Cases,
    ConfigDraft,
    ConfigLens,
    Constraint,
    Key,
    MismatchError,
    NullCases,
    Template,
    names,
    read,
    write,
)
from archcalc.hf.spellings import GAMMA, Spelling
from archcalc.hf.stack import FirstLayerSchedule, LastLayer, SharedStackLens, StackLens, UniformSchedule
from archcalc.hf.tensors import TensorEntry, TensorMap, modules, table
from archcalc.hf.vocabulary import flag, keys
from archcalc.spec.assumption import Assumption
from archcalc.words import Message

TIED = flag("tie_word_embeddings", True)
# With an untied head, the class keeps both the head's bias and the decoder's own.
DECODER_BIAS = {"name": "second_bias", "axes": ("vocab_size",), "component": "head", "storage": "trainable"}


# Canonical names → module names of BERT's class.
EMBEDDING_NAMES = {
    "embed.tokens": "{root}.embeddings.word_embeddings",
    "embed.types": "{root}.embeddings.token_type_embeddings",
    "positions": "{root}.embeddings.position_embeddings",
    "embed_norm": "{root}.embeddings.LayerNorm",
}
LAYER_NAMES = {
    "layers.{i}.attn.q": "{root}.encoder.layer.{i}.attention.self.query",
    "layers.{i}.attn.k": "{root}.encoder.layer.{i}.attention.self.key",
    "layers.{i}.attn.v": "{root}.encoder.layer.{i}.attention.self.value",
    "layers.{i}.attn.out": "{root}.encoder.layer.{i}.attention.output.dense",
    "layers.{i}.attn_norm": "{root}.encoder.layer.{i}.attention.output.LayerNorm",
    "layers.{i}.ffn.up": "{root}.encoder.layer.{i}.intermediate.dense",
    "layers.{i}.ffn.down": "{root}.encoder.layer.{i}.output.dense",
    "layers.{i}.ffn_norm": "{root}.encoder.layer.{i}.output.LayerNorm",
}


class HeadNames(msgspec.Struct, frozen=True, kw_only=True):
    """The names of a head's modules and of its bias.

    `has_decoder_bias`: the decoder has a bias too, which is tied to `bias` only if the decoder's matrix is tied.
    """

    decoder: str
    bias: str
    has_decoder_bias: bool = False
    transform: str = ""
    norm: str = ""
    pooler: str = "{root}.pooler.dense"
    relation: str = "cls.seq_relationship"


class BertSwitches(msgspec.Struct, frozen=True, kw_only=True):
    """The switches of a BERT-like model type. Those that are not listed are fields of `Family`.

    - `root`: the base model's name in tensor names
    - `causal_key`: the key that turns the stack into a decoder
    - `groups`: ALBERT's keys for the number of groups and of layers in each
    - `attention`, `ffn`: further fields of a layer's parts
    - `layer`: the template of a layer, given that of the short form
    - `conv`: the key of the width of a convolution that joins the first layer, 0 for none, and its activation
    - `encoder_attention`: the attention of an encoder, given that of a decoder
    - `class_attention`: the same for some classes, by what their names end with
    - `class_last_layer`: a layer that some classes have after the others, given one of these
    - `lists`: keys with an item for each layer, as in `StackLens`
    - `head_activation`: the activation of the head's transform; None: the layers'
    - `head_width`: the input width of an untied head
    - `head_norm`, `first_norm`: the norms of the head's transform and of the embedding, if they are not the layers'
    - `own_columns`: the head's matrix has columns of its own beside a table narrower than the states
    - `is_stored_as_head`: transformers names a tied table after the head
    - `tables`, `join`, `token_dropout`, `scale`: fields of the embedding, if the class has keys for them
    - `extras`: tensors that the logits do not depend on
    - `ffn_dropout`: the probability between a feed-forward's matrices, if there is one
    - `pooler`: the activation of the bare model's pooler; None: it has no pooler
    - `keeps_pooler`: classes that do not use the pooler have it too, and run it
    - `classifier`: the activation of the dense layer before the labels of a text
    - `class_heads`, `class_tensors`, `class_notes`: as in `Family`
    - `n_relations`: how many relations of two sentences the class of pre-training scores
    - `other_products`, `needs_kernel`: as in `Family`
    - `entries`, `entries_of`: tensors of the class that `names` does not name one by one; those of a config come first
    - `stored_names`, `fused_entries`: modules that files name differently, or fuse
    - `decoder_keys`: keys that are written for a decoder besides `fixed_keys`
    - `computed`: canonical tensors that follow from the config
    """

    model_type: str
    classes: tuple[str, ...]
    root: str
    vocab_size: Key
    n_ctx: ConfigLens
    d_model: ConfigLens
    n_layers: Key
    n_heads: ConfigLens
    d_ff: ConfigLens
    activation: Template
    norm: Template
    n_types: Key | None
    factor: Template = None
    tables: Template = None
    join: Template = None
    token_dropout: Template = None
    scale: Template = None
    positions: Template
    embed_norm: bool | ConfigLens = True
    placement: Template = "post"
    final_norm: bool | ConfigLens = False
    attention: Mapping[str, Any]
    encoder_attention: Callable[[Mapping[str, Any]], Template] = dict
    class_attention: Mapping[str, Callable[[Mapping[str, Any]], Template]] = {}
    class_last_layer: Mapping[str, Callable[[Mapping[str, Any]], Template]] = {}
    lists: Mapping[str, str] = {}
    ffn: Mapping[str, Any]
    layer: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict
    conv: tuple[Key, Template] | None = None
    causal_key: Key | None
    groups: tuple[Key, Key] | None = None
    tied: Template = TIED
    head_width: Template = None
    head_norm: Template = None
    first_norm: Template = None
    own_columns: bool = False
    transform: bool = True
    pooler: Template = "tanh"
    keeps_pooler: bool = False
    classifier: Template = "tanh"
    class_heads: Mapping[str, Template] = {}
    class_tensors: Mapping[str, tuple[TensorEntry, ...]] = {}
    class_notes: Mapping[str, Assumption] = {}
    n_relations: Template = 2
    extras: tuple[Mapping[str, Any], ...] = ()
    head_activation: str | None = None
    dropout: Key
    attention_dropout: Template
    ffn_dropout: Template = None
    names: Mapping[str, str]
    head_names: HeadNames
    is_stored_as_head: bool = False
    constraints: tuple[Constraint, ...] = ()
    run_constraints: tuple[Constraint, ...] = ()
    irrelevant: str = ""
    fixed_keys: Mapping[str, Any] = {}
    decoder_keys: Mapping[str, Any] = {}
    unused: Mapping[str, str] = {}
    stored_names: Mapping[str, str] = {}
    fused_entries: tuple[TensorEntry, ...] = ()
    entries: tuple[TensorEntry, ...] = ()
    entries_of: Callable[[Config], tuple[TensorEntry, ...]] | None = None
    computed: tuple[str, ...] = ()
    other_products: Message | None = None
    needs_kernel: bool = False
    gguf: GgufMap | None = None


@row_builder
def bert_like(model_type: str, *classes: str, **switches: Any) -> Family:
    """Return a family whose config has BERT's keys. `switches` are those of BertSwitches."""
    row = BertSwitches(model_type=model_type, classes=classes, **switches)
    encoder = Family(
        row.model_type,
        row.classes,
        _template(row, "encoder"),
        _tensors(row, row.names),
        tensors_of=_tensors_of(row),
        constraints=row.constraints,
        run_constraints=row.run_constraints,
        irrelevant=keys(row.irrelevant),
        fixed_keys=row.fixed_keys,
        spelling=_spelling(row),
        class_heads=_heads(row),
        class_tensors=row.class_tensors,
        class_notes=row.class_notes,
        runs_pooler=row.keeps_pooler,
        other_products=row.other_products,
        needs_kernel=row.needs_kernel,
        gguf=row.gguf,
    )
    if row.causal_key is None:
        return encoder
    not_causal = Constraint(row.causal_key.name, (False, None) if row.causal_key.null is False else (False,))
    return msgspec.structs.replace(
        encoder, constraints=(*row.constraints, not_causal), forms=(_decoder(row, row.causal_key.name, encoder),)
    )


def _decoder(row: BertSwitches, causal_key: str, encoder: Family) -> Family:
    """Return the form for configs that make the stack a decoder. The class for them is the last one."""
    return msgspec.structs.replace(
        encoder,
        classes=row.classes[::-1],
        template=_template(row, "decoder"),
        constraints=(*row.constraints, Constraint(causal_key, (True,))),
        fixed_keys={**row.fixed_keys, causal_key: True, **row.decoder_keys},
        when=lambda data: data.get(causal_key) is True,
    )


def _template(row: BertSwitches, stack: str) -> Template:
    return {
        "vocab_size": row.vocab_size,
        "d_model": row.d_model,
        "embedding": _embedding(row),
        stack: _stack(row, is_encoder=stack == "encoder"),
        "head": _head(row),
        **_extras(row),
        "dropout": {"embedding": row.dropout, "attention": row.attention_dropout, "residual": row.dropout}
        | ({} if row.ffn_dropout is None else {"ffn": row.ffn_dropout}),
        # Last, because a draft needs the stack's position first.
        "n_ctx": row.n_ctx,
    }


def _embedding(row: BertSwitches) -> Template:
    optional = {
        "factor": row.factor,
        "tables": row.tables,
        "join": row.join,
        "token_dropout": row.token_dropout,
        "scale": row.scale,
    }
    return {"n_token_types": row.n_types or 0} | {name: part for name, part in optional.items() if part is not None}


def _head(row: BertSwitches) -> Template:
    transform = {"activation": row.head_activation or row.activation, "norm": row.head_norm or row.norm}
    head = {"tied": row.tied, "bias": True, "transform": transform if row.transform else None}
    head |= {"own_columns": True} if row.own_columns else {}
    if row.head_width is None:
        return head
    width = Cases(row.tied, {True: None, False: row.head_width}) if isinstance(row.tied, ConfigLens) else row.head_width
    return head | {"d_in": width}


def _heads(row: BertSwitches) -> dict[str, Template]:
    """Return the heads of the other classes: all pool, except those that score tokens."""
    reads: dict[str, Any] = {"reads": "pooled" if row.classifier else "first"}
    choice = row.pooler or row.classifier
    heads = {
        "Model": NONE | _pooler(row.pooler),
        "Encoder": NONE | _pooler(row.pooler),
        "ForSequenceClassification": {"head": scores(LABELS, **reads)} | _pooler(row.classifier),
        "ForTokenClassification": EVERY_TOKEN,
        "ForQuestionAnswering": EVERY_TOKEN,
        "ForQuestionAnsweringSimple": EVERY_TOKEN,
    }
    if choice:
        heads["ForMultipleChoice"] = {"head": scores(1, reads="pooled")} | _pooler(choice)
        heads["ForNextSentencePrediction"] = {"head": scores(2, reads="pooled")} | _pooler(choice)
    if row.pooler:
        heads["ForPreTraining"] = {"extras": _with_decoder_bias(row, (*row.extras, *_sentence_pair(row)))}
    all_heads = heads | dict(row.class_heads)
    stacks = {
        kind: {"encoder": _stack(msgspec.structs.replace(row, encoder_attention=attention))}
        for kind, attention in row.class_attention.items()
    } | {
        kind: {"encoder": LastLayer(_stack(row), last_layer(_layer(row, is_encoder=True)))}
        for kind, last_layer in row.class_last_layer.items()
    }
    return {
        kind: head and _unread(row, has_pooler="pooler" in head) | stacks.get(kind, {}) | head
        for kind, head in all_heads.items()
    }


def _unread(row: BertSwitches, *, has_pooler: bool) -> dict[str, Template]:
    """Return the tensors that the output of another class does not depend on."""
    extras = tuple(dict(extra) for extra in (*row.extras, *(() if has_pooler else _unused_pooler(row))))
    return {"extras": extras} if extras or row.keeps_pooler or row.head_names.has_decoder_bias else {}


def _sentence_pair(row: BertSwitches) -> tuple[Mapping[str, Any], ...]:
    """Return the tensors of a class that also predicts how two sentences are related."""
    return extra_modules({"pooler": ("d_model", "d_model"), "relation": (row.n_relations, "d_model")})


def _unused_pooler(row: BertSwitches) -> tuple[Mapping[str, Any], ...]:
    return extra_modules({"pooler": ("d_model", "d_model")}) if row.keeps_pooler else ()


def _pooler(act: Template) -> Template:
    return {"pooler": {"activation": act}} if act else {}


def _extras(row: BertSwitches) -> Template:
    extras = _with_decoder_bias(row, (*row.extras, *_unused_pooler(row)))
    return {"extras": extras} if extras else {}


def _with_decoder_bias(row: BertSwitches, extras: tuple[Mapping[str, Any], ...]) -> Template:
    """Return the extras, with the decoder's own bias if the head is untied."""
    plain = tuple(dict(extra) for extra in extras)
    return Cases(TIED, {True: plain, False: (*plain, DECODER_BIAS)}) if row.head_names.has_decoder_bias else plain


def _layer(row: BertSwitches, *, is_encoder: bool) -> dict[str, Any]:
    attention = {"kind": "gqa", "n_heads": row.n_heads, **row.attention}
    layer = {
        "norm": row.norm,
        "placement": row.placement,
        "attention": row.encoder_attention(attention) if is_encoder else attention,
        "ffn": {"d_ff": row.d_ff, "activation": row.activation, **row.ffn},
    }
    return dict(row.layer(layer))


def _stack(row: BertSwitches, *, is_encoder: bool = True) -> StackLens | SharedStackLens | NullCases:
    layer = _layer(row, is_encoder=is_encoder)
    stack_fields = {
        "position": row.positions,
        "embed_norm": _optional(row.embed_norm, row.first_norm or row.norm),
        "final_norm": _optional(row.final_norm, row.norm),
    }
    if row.groups:
        return SharedStackLens(row.n_layers, *row.groups, layer, stack_fields)
    plain = StackLens(count=row.n_layers, kinds={"layer": layer}, stack_fields=stack_fields, lists=row.lists)
    if row.conv is None:
        return plain
    kinds = {"layer": layer, "first_layer": _with_conv(layer, *row.conv)}
    return NullCases(
        row.conv[0],
        plain,
        StackLens(row.n_layers, kinds, FirstLayerSchedule(UniformSchedule()), stack_fields),
        empty=0,
    )


def _with_conv(layer: Mapping[str, Any], width: Key, act: Template) -> Template:
    """Return the branches of a layer with norms after, and one with a convolution of the layer's input."""
    arms = {
        "attn": layer["attention"],
        "ffn": {"kind": "plain", **layer["ffn"]},
        "mixer": {"kind": "span_conv", "d_conv": width, "activation": act},
    }
    reads = {"mixer": {"input_of": "attn"}}
    return {
        "branches": tuple(
            {"arms": ({"name": name, "part": part, **reads.get(name, {})},), "norm_after": layer["norm"]}
            for name, part in arms.items()
        )
    }


def _optional(condition: bool | ConfigLens, part: Template) -> Template:
    """Return a part that is there, is not, or depends on the config."""
    if isinstance(condition, ConfigLens):
        return Cases(condition, {True: part, False: None})
    return part if condition else None


def _tensors_of(row: BertSwitches) -> Callable[[Config], TensorMap] | None:
    """Return a function from a config to its tensors, if they depend on more than the row."""
    own = row.entries_of
    if own is None:
        return _grouped_tensors(row)
    return lambda config: _tensors(msgspec.structs.replace(row, entries=(*own(config), *row.entries)), row.names)


def _grouped_tensors(row: BertSwitches) -> Callable[[Config], TensorMap] | None:
    """Return a function from a config to the tensors of its groups, because their layers' indices depend on it."""
    stack = _stack(row)
    if not isinstance(stack, SharedStackLens):
        return None

    def tensors(config: Config) -> TensorMap:
        layers = {
            ours.replace("{i}", str(index)): name.replace("{g}", str(group)).replace("{j}", str(place))
            for index, group, place in stack.places(config)
            for ours, name in row.names.items()
            if "{i}" in ours
        }
        return _tensors(row, {ours: name for ours, name in row.names.items() if "{i}" not in ours} | layers)

    return tensors


def _tensors(row: BertSwitches, names: Mapping[str, str]) -> TensorMap:
    head = row.head_names
    module_names = {ours: name.replace("{root}", row.root) for ours, name in names.items()}
    head_modules = {"head.transform": head.transform, "head.norm": head.norm} if row.transform else {}
    decoder = f"{head.decoder}.weight"
    tied_entries = (
        TensorEntry(f"{module_names['embed.tokens']}.weight", ("embed.tokens.weight",), requires="head.weight"),
        TensorEntry(decoder, ("embed.tokens.weight",)),
    )
    untied_entries = (
        TensorEntry(f"{head.decoder}.bias", ("head.bias",), requires="head.weight"),
        TensorEntry(head.bias, ("extras.second_bias",)),
    )
    return table(
        tied_entries if row.is_stored_as_head else (),
        untied_entries if head.has_decoder_bias else (),
        row.entries,
        modules(module_names | head_modules),
        modules({"extras.pooler": head.pooler.replace("{root}", row.root), "extras.relation": head.relation}),
        TensorEntry(head.bias, ("head.bias",)),
        TensorEntry(decoder, ("head.weight",)),
    )


def _spelling(row: BertSwitches) -> Spelling:
    """Return the spelling: tied tensors have either name, and files may have a pooler and heads of pre-training."""
    head = row.head_names
    decoder, tokens = f"{head.decoder}.weight", row.names["embed.tokens"].replace("{root}", row.root) + ".weight"
    copies = {tokens: decoder} if row.is_stored_as_head else {decoder: tokens}
    return Spelling(
        renames=GAMMA | dict(row.stored_names),
        copies=copies | ({f"{head.decoder}.bias": head.bias} if head.has_decoder_bias else {}),
        absent={decoder: tokens} if row.is_stored_as_head else {},
        computed=row.computed,
        unused=(
            {}
            if row.keeps_pooler
            else {rf"{row.root}\.pooler\..*": "the pooler, which the masked-LM class does not have"}
        )
        | dict(row.unused),
        fused=row.fused_entries,
    )


@final
class SingleItem(ConfigLens, msgspec.Struct, frozen=True):
    """A tuple of one item."""

    item: Template

    def names(self) -> Iterator[str]:
        """Yield the item's keys."""
        yield from names(self.item)

    def read(self, config: Config) -> tuple[Any]:
        """Return the item's document in a tuple."""
        return (read(self.item, config),)

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put the item's keys. Raises MismatchError unless there is one item."""
        if not isinstance(value, tuple) or len(value) != 1:
            raise MismatchError
        write(self.item, value[0], draft)


@final
class PaddingRows(ConfigLens, msgspec.Struct, frozen=True):
    """The number of rows of a position table before position 0: up to the padding token's."""

    pad: ConfigLens

    def names(self) -> Iterator[str]:
        """Yield the padding token's key."""
        yield from self.pad.names()

    def read(self, config: Config) -> int:
        """Return the number of rows; 0 without a padding token."""
        pad = self.pad.read(config)
        return 0 if pad is None else pad + 1

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put the padding token."""
        self.pad.write(value - 1 if value else None, draft)


@final
class ContextAfterPadding(ConfigLens, msgspec.Struct, frozen=True):
    """The context length of a table whose first rows, `before`, are no positions (fairseq's numbering)."""

    rows: Key
    before: PaddingRows

    def names(self) -> Iterator[str]:
        """Yield the keys of the rows and of the padding token."""
        yield from self.rows.names()
        yield from self.before.names()

    def read(self, config: Config) -> int:
        """Return the number of positions. Raises InputError if there are none."""
        rows, before = self.rows.read(config), self.before.read(config)
        if rows <= before:
            allowed = f"more than {before}, for positions start after the padding token"
            raise config.error(self.rows.name, rows, allowed)
        n_ctx: int = rows - before
        return n_ctx

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put the number of all rows. The padding token must be in the draft already."""
        draft.put(self.rows.name, value + self.before.read(Config(draft)))
