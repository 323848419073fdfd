"""The template of BERT and its kin: a row's switches become the family of a model type."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, final

import msgspec

from archcalc.hf.config import Config
from archcalc.hf.family import Family, row_builder
from archcalc.hf.heads import EVERY_TOKEN, LABELS, NONE, scores
from archcalc.hf.lens import Cases, ConfigDraft, Constraint, Key, Lens, MismatchError, Template, names, read, write
from archcalc.hf.spellings import GAMMA, Spelling
from archcalc.hf.stack import SharedStackLens, StackLens
from archcalc.hf.tensors import TensorEntry, TensorMap, modules, table
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
    """The modules of a head, and its bias.

    `bias_twice`: the bias stands beside the decoder's own, which is tied to it only where the decoder's matrix is tied.
    """

    decoder: str
    bias: str
    has_decoder_bias: bool = False
    transform: str = ""
    norm: str = ""


class BertSwitches(msgspec.Struct, frozen=True, kw_only=True):
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
    causal_key: Key | None
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
    is_stored_as_head: bool = False
    constraints: tuple[Constraint, ...] = ()
    run_constraints: tuple[Constraint, ...] = ()
    irrelevant: str = ""
    fixed_keys: Mapping[str, Any] = {}
    unused: Mapping[str, str] = {}
    stored_names: Mapping[str, str] = {}
    fused_entries: tuple[TensorEntry, ...] = ()
    computed: tuple[str, ...] = ()


@row_builder
def bert_like(model_type: str, *classes: str, **switches: Any) -> Family:
    """Return a family whose config has BERT's keys; `switches` are those of BertLike."""
    row = BertSwitches(model_type=model_type, classes=classes, **switches)
    encoder = Family(
        row.model_type,
        row.classes,
        _template(row, "encoder"),
        _tensors(row, row.names),
        tensors_of=_grouped(row),
        constraints=row.constraints,
        run_constraints=row.run_constraints,
        irrelevant=keys(row.irrelevant),
        fixed_keys=row.fixed_keys,
        spelling=_spelling(row),
        class_heads=_heads(row),
    )
    if row.causal_key is None:
        return encoder
    not_causal = Constraint(row.causal_key.name, (False, None) if row.causal_key.null is False else (False,))
    return msgspec.structs.replace(
        encoder, constraints=(*row.constraints, not_causal), forms=(_decoder(row, row.causal_key.name, encoder),)
    )


def _decoder(row: BertSwitches, causal_key: str, encoder: Family) -> Family:
    """Return the form of the configs that make a decoder of the stack; a class for them comes last."""
    return msgspec.structs.replace(
        encoder,
        classes=row.classes[::-1],
        template=_template(row, "decoder"),
        constraints=(*row.constraints, Constraint(causal_key, (True,))),
        fixed_keys={**row.fixed_keys, causal_key: True},
        when=lambda data: data.get(causal_key) is True,
    )


def _template(row: BertSwitches, stack: str) -> Template:
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


def _embedding(row: BertSwitches) -> Template:
    optional = {"factor": row.factor, "tables": row.tables, "token_dropout": row.token_dropout}
    return {"n_token_types": row.n_types or 0} | {name: part for name, part in optional.items() if part is not None}


def _head(row: BertSwitches) -> Template:
    transform = {"activation": row.head_activation or row.activation, "norm": row.norm} if row.transform else None
    head = {"tied": row.tied, "bias": True, "transform": transform}
    if row.head_width is None:
        return head
    width = Cases(row.tied, {True: None, False: row.head_width}) if isinstance(row.tied, Lens) else row.head_width
    return head | {"d_in": width}


def _heads(row: BertSwitches) -> dict[str, Template]:
    """Return what the other classes hold: all pool but those that score tokens."""
    pooled: dict[str, Any] = {"reads": "pooled" if row.classifier else "first"}
    choice = row.pooler or row.classifier
    kept: dict[str, Template] = {"extras": tuple(dict(one) for one in row.extras)} if row.extras else {}
    no_extras: dict[str, Template] = {"extras": ()} if row.head_names.has_decoder_bias else {}
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


def _extras(row: BertSwitches) -> Template:
    extras = _with_second_bias(row, row.extras)
    return {"extras": extras} if extras else {}


def _with_second_bias(row: BertSwitches, extras: tuple[Mapping[str, Any], ...]) -> Template:
    """Return extras, with the second bias of an untied head where there are two."""
    plain = tuple(dict(one) for one in extras)
    return Cases(TIED, {True: plain, False: (*plain, SECOND_BIAS)}) if row.head_names.has_decoder_bias else plain


def _stack(row: BertSwitches) -> StackLens | SharedStackLens:
    layer = {
        "norm": row.norm,
        "placement": row.placement,
        "attention": {"kind": "gqa", "n_heads": row.n_heads, **row.attention},
        "ffn": {"d_ff": row.d_ff, "activation": row.activation, **row.ffn},
    }
    stack_fields = {
        "position": row.positions,
        "embed_norm": _perhaps(row.embed_norm, row.norm),
        "final_norm": row.norm if row.final_norm else None,
    }
    if row.groups:
        return SharedStackLens(row.n_layers, *row.groups, layer, stack_fields)
    return StackLens(count=row.n_layers, kinds={"layer": layer}, stack_fields=stack_fields)


def _perhaps(is_there: bool | Lens, part: Template) -> Template:
    """A part that is there, is not, or is where the config says so."""
    if isinstance(is_there, Lens):
        return Cases(is_there, {True: part, False: None})
    return part if is_there else None


def _grouped(row: BertSwitches) -> Callable[[Config], TensorMap] | None:
    """The tensors of a config's groups, whose layers' indices follow from it."""
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
    named = {ours: name.replace("{root}", row.root) for ours, name in names.items()}
    inside = {"head.transform": head.transform, "head.norm": head.norm} if row.transform else {}
    decoder = f"{head.decoder}.weight"
    first = (
        TensorEntry(f"{named['embed.tokens']}.weight", ("embed.tokens.weight",), requires="head.weight"),
        TensorEntry(decoder, ("embed.tokens.weight",)),
    )
    untied = (
        TensorEntry(f"{head.decoder}.bias", ("head.bias",), requires="head.weight"),
        TensorEntry(head.bias, ("extras.second_bias",)),
    )
    return table(
        first if row.is_stored_as_head else (),
        untied if head.has_decoder_bias else (),
        modules(named | inside),
        TensorEntry(head.bias, ("head.bias",)),
        TensorEntry(decoder, ("head.weight",)),
    )


def _spelling(row: BertSwitches) -> Spelling:
    """Tied tensors may be stored under either name; a pooler and heads of pre-training are left out."""
    head = row.head_names
    decoder, tokens = f"{head.decoder}.weight", row.names["embed.tokens"].replace("{root}", row.root) + ".weight"
    copies = {tokens: decoder} if row.is_stored_as_head else {decoder: tokens}
    return Spelling(
        renames=GAMMA | dict(row.stored_names),
        copies=copies | ({f"{head.decoder}.bias": head.bias} if head.has_decoder_bias else {}),
        absent={decoder: tokens} if row.is_stored_as_head else {},
        computed=row.computed,
        unused={rf"{row.root}\.pooler\..*": "the pooler, which the masked-LM class does not have", **row.unused},
        fused=row.fused_entries,
    )


@final
class SingleItem(Lens, msgspec.Struct, frozen=True):
    """A tuple of one item."""

    item: Template

    def names(self) -> Iterator[str]:
        """The item's."""
        yield from names(self.item)

    def read(self, config: Config) -> tuple[Any]:
        """The item, filled."""
        return (read(self.item, config),)

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """The item. Raises MismatchError where there is none, or more."""
        if not isinstance(value, tuple) or len(value) != 1:
            raise MismatchError
        write(self.item, value[0], draft)


@final
class PaddingRows(Lens, msgspec.Struct, frozen=True):
    """The rows of a table of positions that stand before position 0: the padding token's, and those before it."""

    pad: Lens

    def names(self) -> Iterator[str]:
        """The padding token's key."""
        yield from self.pad.names()

    def read(self, config: Config) -> int:
        """How many rows; without a padding token, none."""
        pad = self.pad.read(config)
        return 0 if pad is None else pad + 1

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """The padding token."""
        self.pad.write(value - 1 if value else None, draft)


@final
class ContextAfterPadding(Lens, msgspec.Struct, frozen=True):
    """A context of the rows that remain after those `before` (fairseq's way to number positions)."""

    rows: Key
    before: PaddingRows

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

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """All rows, once the padding token is written."""
        draft.put(self.rows.name, value + self.before.read(Config(draft)))
