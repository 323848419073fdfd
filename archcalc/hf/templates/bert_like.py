"""The template of BERT and its kin: a row's switches become the family of a model type."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, final

import msgspec

from archcalc.hf.config import Config
from archcalc.hf.family import Family, builder
from archcalc.hf.heads import EVERY_TOKEN, LABELS, NONE, scores
from archcalc.hf.lens import Cases, Draft, Key, Lens, MismatchError, Must, Template, names, read, write
from archcalc.hf.spellings import GAMMA, Spelling
from archcalc.hf.stack import Shared, Stack
from archcalc.hf.tensors import Holds, TensorMap, renamed, table
from archcalc.hf.vocabulary import flag, keys

TIED = flag("tie_word_embeddings", True)
# Where a head is untied, its class keeps the bias that it was tied to.
SECOND_BIAS = {"name": "second_bias", "axes": ("vocab_size",), "component": "head", "storage": "trainable"}

# What a class that was trained to tell whether one sentence follows another holds for it.
SENTENCE_PAIR = tuple(
    {"name": name, "axes": axes, "component": "other", "storage": "trainable"}
    for name, axes in {
        "pooler.weight": ("d_model", "d_model"),
        "pooler.bias": ("d_model",),
        "relation.weight": (2, "d_model"),
        "relation.bias": (2,),
    }.items()
)

# Modules by the canonical names they hold, as BERT's port names them.
AROUND = {
    "embed.tokens": "{root}.embeddings.word_embeddings",
    "embed.types": "{root}.embeddings.token_type_embeddings",
    "positions": "{root}.embeddings.position_embeddings",
    "embed_norm": "{root}.embeddings.LayerNorm",
}
LAYER = {
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
    """The modules of a head, and its bias.

    `bias_twice`: the bias stands beside the decoder's own, which is tied to it only where the decoder's matrix is tied.
    """

    decoder: str
    bias: str
    bias_twice: bool = False
    transform: str = ""
    norm: str = ""


class BertLike(msgspec.Struct, frozen=True, kw_only=True):
    """The switches of a model type.

    `root`: the name of the base model in the tensors' names. `is_causal`: the key that makes a decoder of the stack.
    `groups`: the keys of ALBERT's groups and of the layers in each. `attention`, `ffn`: fields of a layer's parts
    beside those that all have. `head_activation`: that of the head's transform (left out: the layers').
    `head_width`: what an untied head's matrix reads. `head_first`: transformers names a tied table after the head.
    `tables`, `token_dropout`: the embedding's, where the class has a key for them. `extras`: what the class holds and
    no logits use. `pooler`: the activation of the bare model's pooler (None: it has none); `classifier`: that of the
    dense layer before a text's labels; `class_heads`: of further classes. `stored_names`, `stored_rows`: how files
    name modules, and what they fuse. `computed`: canonical names of what follows from the config. The others are fields
    of `Family`.
    """

    model_type: str
    classes: tuple[str, ...]
    root: str
    vocab_size: Key
    n_ctx: Lens
    d_model: Key
    n_layers: Key
    n_heads: Key
    d_ff: Lens
    activation: Template
    norm: Template
    n_types: Key | None
    factor: Template = None
    tables: Template = None
    token_dropout: Template = None
    positions: Template
    embed_norm: bool | Lens = True
    placement: Template = "post"
    final_norm: bool = False
    attention: Mapping[str, Any]
    ffn: Mapping[str, Any]
    is_causal: Key | None
    groups: tuple[Key, Key] | None = None
    tied: Template = TIED
    head_width: Template = None
    transform: bool = True
    pooler: Template = "tanh"
    classifier: Template = "tanh"
    class_heads: Mapping[str, Template] = {}
    extras: tuple[Mapping[str, Any], ...] = ()
    head_activation: str | None = None
    dropout: Key
    attention_dropout: Key
    names: Mapping[str, str]
    head_names: HeadNames
    head_first: bool = False
    must: tuple[Must, ...] = ()
    must_to_run: tuple[Must, ...] = ()
    harmless: str = ""
    also: Mapping[str, Any] = {}
    left: Mapping[str, str] = {}
    stored_names: Mapping[str, str] = {}
    stored_rows: tuple[Holds, ...] = ()
    computed: tuple[str, ...] = ()


@builder
def bert_like(model_type: str, *classes: str, **switches: Any) -> Family:
    """Return a family whose config has BERT's keys; `switches` are those of BertLike."""
    row = BertLike(model_type=model_type, classes=classes, **switches)
    encoder = Family(
        row.model_type,
        row.classes,
        _template(row, "encoder"),
        _tensors(row, row.names),
        tensors_of=_grouped(row),
        must=row.must,
        must_to_run=row.must_to_run,
        harmless=keys(row.harmless),
        also=row.also,
        spelling=_spelling(row),
        class_heads=_heads(row),
    )
    if row.is_causal is None:
        return encoder
    not_causal = Must(row.is_causal.name, (False, None) if row.is_causal.null is False else (False,))
    return msgspec.structs.replace(
        encoder, must=(*row.must, not_causal), forms=(_decoder(row, row.is_causal.name, encoder),)
    )


def _decoder(row: BertLike, is_causal: str, encoder: Family) -> Family:
    """Return the form of the configs that make a decoder of the stack; a class for them comes last."""
    return msgspec.structs.replace(
        encoder,
        classes=row.classes[::-1],
        template=_template(row, "decoder"),
        must=(*row.must, Must(is_causal, (True,))),
        also={**row.also, is_causal: True},
        when=lambda data: data.get(is_causal) is True,
    )


def _template(row: BertLike, stack: str) -> Template:
    return {
        "vocab_size": row.vocab_size,
        "d_model": row.d_model,
        "embedding": _embedding(row),
        stack: _stack(row),
        "head": _head(row),
        **_extras(row),
        "dropout": {"embedding": row.dropout, "attention": row.attention_dropout, "residual": row.dropout},
        # After the stack, from whose position it may follow.
        "n_ctx": row.n_ctx,
    }


def _embedding(row: BertLike) -> Template:
    beside = {"factor": row.factor, "tables": row.tables, "token_dropout": row.token_dropout}
    return {"n_token_types": row.n_types or 0} | {name: part for name, part in beside.items() if part is not None}


def _head(row: BertLike) -> Template:
    transform = {"activation": row.head_activation or row.activation, "norm": row.norm} if row.transform else None
    head = {"tied": row.tied, "bias": True, "transform": transform}
    if row.head_width is None:
        return head
    width = Cases(row.tied, {True: None, False: row.head_width}) if isinstance(row.tied, Lens) else row.head_width
    return head | {"d_in": width}


def _heads(row: BertLike) -> dict[str, Template]:
    """Return what the other classes hold: all pool but those that score tokens."""
    pooled: dict[str, Any] = {"reads": "pooled" if row.classifier else "first"}
    choice = row.pooler or row.classifier
    kept: dict[str, Template] = {"extras": tuple(dict(one) for one in row.extras)} if row.extras else {}
    no_extras: dict[str, Template] = {"extras": ()} if row.head_names.bias_twice else {}
    heads = {
        "Model": NONE | _pooler(row.pooler),
        "Encoder": NONE | _pooler(row.pooler),
        "ForSequenceClassification": {"head": scores(LABELS, **pooled)} | _pooler(row.classifier),
        "ForTokenClassification": EVERY_TOKEN,
        "ForQuestionAnswering": EVERY_TOKEN,
        "ForQuestionAnsweringSimple": EVERY_TOKEN,
    }
    if choice:
        heads["ForMultipleChoice"] = {"head": scores(1, reads="pooled")} | _pooler(choice)
        heads["ForNextSentencePrediction"] = {"head": scores(2, reads="pooled")} | _pooler(choice)
    if row.pooler:
        heads["ForPreTraining"] = {"extras": _with_second_bias(row, (*row.extras, *SENTENCE_PAIR))}
    every = heads | dict(row.class_heads)
    return {kind: head and no_extras | kept | head for kind, head in every.items()}


def _pooler(act: Template) -> Template:
    return {"pooler": {"activation": act}} if act else {}


def _extras(row: BertLike) -> Template:
    extras = _with_second_bias(row, row.extras)
    return {"extras": extras} if extras else {}


def _with_second_bias(row: BertLike, extras: tuple[Mapping[str, Any], ...]) -> Template:
    """Return extras, with the second bias of an untied head where there are two."""
    plain = tuple(dict(one) for one in extras)
    return Cases(TIED, {True: plain, False: (*plain, SECOND_BIAS)}) if row.head_names.bias_twice else plain


def _stack(row: BertLike) -> Stack | Shared:
    layer = {
        "norm": row.norm,
        "placement": row.placement,
        "attention": {"kind": "gqa", "n_heads": row.n_heads, **row.attention},
        "ffn": {"d_ff": row.d_ff, "activation": row.activation, **row.ffn},
    }
    around = {
        "position": row.positions,
        "embed_norm": _perhaps(row.embed_norm, row.norm),
        "final_norm": row.norm if row.final_norm else None,
    }
    if row.groups:
        return Shared(row.n_layers, *row.groups, layer, around)
    return Stack(count=row.n_layers, kinds={"layer": layer}, around=around)


def _perhaps(is_there: bool | Lens, part: Template) -> Template:
    """A part that is there, is not, or is where the config says so."""
    if isinstance(is_there, Lens):
        return Cases(is_there, {True: part, False: None})
    return part if is_there else None


def _grouped(row: BertLike) -> Callable[[Config], TensorMap] | None:
    """The tensors of a config's groups, whose layers' indices follow from it."""
    stack = _stack(row)
    if not isinstance(stack, Shared):
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


def _tensors(row: BertLike, names: Mapping[str, str]) -> TensorMap:
    head = row.head_names
    named = {ours: name.replace("{root}", row.root) for ours, name in names.items()}
    inside = {"head.transform": head.transform, "head.norm": head.norm} if row.transform else {}
    decoder = f"{head.decoder}.weight"
    first = (
        Holds(f"{named['embed.tokens']}.weight", ("embed.tokens.weight",), beside="head.weight"),
        Holds(decoder, ("embed.tokens.weight",)),
    )
    untied = (
        Holds(f"{head.decoder}.bias", ("head.bias",), beside="head.weight"),
        Holds(head.bias, ("extras.second_bias",)),
    )
    return table(
        first if row.head_first else (),
        untied if head.bias_twice else (),
        renamed(named | inside),
        Holds(head.bias, ("head.bias",)),
        Holds(decoder, ("head.weight",)),
    )


def _spelling(row: BertLike) -> Spelling:
    """Tied tensors may be stored under either name; a pooler and heads of pre-training are left out."""
    head = row.head_names
    decoder, tokens = f"{head.decoder}.weight", row.names["embed.tokens"].replace("{root}", row.root) + ".weight"
    copies = {tokens: decoder} if row.head_first else {decoder: tokens}
    return Spelling(
        renamed=GAMMA | dict(row.stored_names),
        copies=copies | ({f"{head.decoder}.bias": head.bias} if head.bias_twice else {}),
        absent={decoder: tokens} if row.head_first else {},
        computed=row.computed,
        left={rf"{row.root}\.pooler\..*": "the pooler, which the masked-LM class does not have", **row.left},
        fused=row.stored_rows,
    )


@final
class One(Lens, msgspec.Struct, frozen=True):
    """A tuple of one item."""

    item: Template

    def names(self) -> Iterator[str]:
        """The item's."""
        yield from names(self.item)

    def read(self, config: Config) -> tuple[Any]:
        """The item, filled."""
        return (read(self.item, config),)

    def write(self, value: Any, draft: Draft) -> None:
        """The item. Raises MismatchError where there is none, or more."""
        if not isinstance(value, tuple) or len(value) != 1:
            raise MismatchError
        write(self.item, value[0], draft)


@final
class RowsBefore(Lens, msgspec.Struct, frozen=True):
    """The rows of a table of positions that stand before position 0: the padding token's, and those before it."""

    pad: Lens

    def names(self) -> Iterator[str]:
        """The padding token's key."""
        yield from self.pad.names()

    def read(self, config: Config) -> int:
        """How many rows; without a padding token, none."""
        pad = self.pad.read(config)
        return 0 if pad is None else pad + 1

    def write(self, value: Any, draft: Draft) -> None:
        """The padding token."""
        self.pad.write(value - 1 if value else None, draft)


@final
class RowsAfter(Lens, msgspec.Struct, frozen=True):
    """A context of the rows that remain after those `before` (fairseq's way to number positions)."""

    rows: Key
    before: RowsBefore

    def names(self) -> Iterator[str]:
        """The keys of the rows and of the padding token."""
        yield from self.rows.names()
        yield from self.before.names()

    def read(self, config: Config) -> int:
        """Rows that are positions. Raises InputError where none is."""
        rows, before = self.rows.read(config), self.before.read(config)
        if rows <= before:
            allowed = f"more than {before}, for positions start after the padding token"
            raise config.error(self.rows.name, rows, allowed)
        n_ctx: int = rows - before
        return n_ctx

    def write(self, value: Any, draft: Draft) -> None:
        """All rows, once the padding token is written."""
        draft.put(self.rows.name, value + self.before.read(Config(draft)))
