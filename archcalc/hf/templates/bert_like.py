"""The template of BERT and its kin: a row's switches become the family of a model type."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, final

from archcalc.hf.config import Config
from archcalc.hf.family import Family, builder
from archcalc.hf.lens import Cases, Draft, Key, Lens, Must, Template
from archcalc.hf.spellings import GAMMA, Spelling
from archcalc.hf.stack import Stack
from archcalc.hf.tensors import Holds, TensorMap, renamed, same, table
from archcalc.hf.vocabulary import flag, keys

TIED = flag("tie_word_embeddings", True)

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


@dataclass(frozen=True, kw_only=True)
class HeadNames:
    """The modules of a head; `bias` is None where the decoder's own bias is the only one."""

    decoder: str
    bias: str | None
    transform: str = ""
    norm: str = ""


@dataclass(frozen=True, kw_only=True)
class BertLike:
    """The switches of a model type.

    `root`: the name of the base model in the tensors' names. `is_causal`: the key that makes a decoder of the stack.
    `head_activation`: that of the head's transform (left out: the layers'). `head_first`: transformers names a tied
    table after the head. `attention`, `ffn`: fields of a layer's parts beside those that all have. `stored_names`,
    `stored_rows`: how files name modules, and what they fuse.
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
    activation: Lens
    norm: Template
    n_types: Key | None
    factor: Template = None
    positions: Template
    embed_norm: bool | Lens = True
    placement: Template = "post"
    final_norm: bool = False
    attention: Mapping[str, Any]
    ffn: Mapping[str, Any]
    is_causal: Key | None
    share_weights: bool = False
    transform: bool = True
    head_activation: str | None = None
    dropout: Key
    attention_dropout: Key
    names: Mapping[str, str]
    head_names: HeadNames
    head_first: bool = False
    must: tuple[Must, ...] = ()
    harmless: str = ""
    left: Mapping[str, str] = field(default_factory=dict)
    stored_names: Mapping[str, str] = field(default_factory=dict)
    stored_rows: tuple[Holds, ...] = ()


@builder
def bert_like(model_type: str, *classes: str, **switches: Any) -> Family:
    """Return a family whose config has BERT's keys; `switches` are those of BertLike."""
    row = BertLike(model_type=model_type, classes=classes, **switches)
    untied = () if row.head_names.bias is None else (Must("tie_word_embeddings", (True,)),)
    return Family(
        row.model_type,
        row.classes,
        _template(row),
        _tensors(row),
        must=(*row.must, *untied, Must("position_embedding_type", ("absolute",))),
        harmless=keys(row.harmless),
        spelling=_spelling(row),
        decoder_class=row.classes[-1] if row.is_causal else None,
    )


def _template(row: BertLike) -> Template:
    embedding = {"n_token_types": row.n_types or 0} | ({"factor": row.factor} if row.factor else {})
    transform = {"activation": row.head_activation or row.activation, "norm": row.norm} if row.transform else None
    stack = _stack(row)
    return {
        "vocab_size": row.vocab_size,
        "d_model": row.d_model,
        "embedding": embedding,
        **({"encoder": stack} if row.is_causal is None else _either(stack, row.is_causal)),
        "head": {
            "tied": TIED if row.head_names.bias is None else True,
            "bias": True,
            "transform": transform,
        },
        "dropout": {"embedding": row.dropout, "attention": row.attention_dropout, "residual": row.dropout},
        # After the stack, from whose position it may follow.
        "n_ctx": row.n_ctx,
    }


def _either(stack: Template, is_causal: Key) -> Template:
    """One stack, a decoder where the config says so."""
    return {
        "encoder": Cases(is_causal, {False: stack, True: None}),
        "decoder": Cases(is_causal, {True: stack, False: None}),
    }


def _stack(row: BertLike) -> Stack:
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
    return Stack(count=row.n_layers, kinds={"layer": layer}, around=around, share_weights=row.share_weights)


def _perhaps(is_there: bool | Lens, part: Template) -> Template:
    """A part that is there, is not, or is where the config says so."""
    if isinstance(is_there, Lens):
        return Cases(is_there, {True: part, False: None})
    return part if is_there else None


def _tensors(row: BertLike) -> TensorMap:
    head = row.head_names
    named = {ours: name.replace("{root}", row.root) for ours, name in row.names.items()}
    tokens = f"{named['embed.tokens']}.weight"
    inside = {"head.transform": head.transform, "head.norm": head.norm} if row.transform else {}
    first = (
        Holds(tokens, ("embed.tokens.weight",), beside="head.weight"),
        Holds(f"{head.decoder}.weight", ("embed.tokens.weight",)),
    )
    return table(
        first if row.head_first else (),
        renamed(named | inside),
        Holds(f"{head.bias or head.decoder}{'' if head.bias else '.bias'}", ("head.bias",)),
        same("head", head.decoder),
    )


def _spelling(row: BertLike) -> Spelling:
    """Tied tensors may be stored under either name; a pooler and heads of pre-training are left out."""
    head = row.head_names
    decoder, tokens = f"{head.decoder}.weight", row.names["embed.tokens"].replace("{root}", row.root) + ".weight"
    copies = {tokens: decoder} if row.head_first else {decoder: tokens}
    return Spelling(
        renamed=GAMMA | dict(row.stored_names),
        fused=row.stored_rows,
        copies=copies | ({f"{head.decoder}.bias": head.bias} if head.bias else {}),
        absent={decoder: tokens} if row.head_first else {},
        left={rf"{row.root}\.pooler\..*": "the pooler, which the masked-LM class does not have", **row.left},
    )


@final
@dataclass(frozen=True)
class RowsBefore(Lens):
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
@dataclass(frozen=True)
class RowsAfter(Lens):
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
