"""An encoder and a decoder with whole configs of their own, joined by cross-attention (EncoderDecoderModel)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, final

import msgspec
from msgspec.structs import replace

from archcalc.errors import InputError
from archcalc.hf import family_of, from_config, upstream
from archcalc.hf.config import MAPPING, TEXT, Config, raise_all
from archcalc.hf.equivalence import is_same_architecture
from archcalc.hf.family import Family, Misfit
from archcalc.hf.heads import extra_modules
from archcalc.hf.lens import ConfigLens, Constraint
from archcalc.hf.spellings import Spelling
from archcalc.hf.tensors import TensorEntry, TensorMap, table
from archcalc.hf.vocabulary import keys
from archcalc.spec.document import decode

if TYPE_CHECKING:
    from archcalc.spec.document import Document
    from archcalc.spec.layer import Layer
    from archcalc.spec.model import Spec

# Both parts: their decoders attend to an encoder, in modules that are named after those of self-attention.
TYPES = (
    "bert",
    "bert-generation",
    "camembert",
    "data2vec-text",
    "electra",
    "ernie",
    "megatron-bert",
    "rembert",
    "roberta",
    "roberta-prelayernorm",
    "xlm-roberta",
    "xlm-roberta-xl",
)
# Decoders alone, whose rows have the tensors of cross-attention.
DECODERS = ("gpt2",)
CROSSES = {"is_decoder": True, "add_cross_attention": True}
OWN = ("vocab_size", "n_ctx", "embedding")
POOLER = extra_modules({"pooler": ("d_model", "d_model")})
POOLER_NAMES = tuple(extra["name"] for extra in POOLER)


@final
class PartKey(ConfigLens, msgspec.Struct, frozen=True):
    """The config of one part, which `ComposedFamily` reads and writes."""

    name: str

    def names(self) -> Iterator[str]:
        """Yield the key."""
        yield self.name


class ComposedFamily(Family, frozen=True, dict=True):
    """The family of a model whose parts are models of other types."""

    def form(self, data: Mapping[str, Any]) -> Family:
        """Return this row with the tensors and the spelling of the parts that a config names."""
        encoder, decoder = (family_of(part["model_type"]).form(part) for part in _parts(data))
        tensors = table(
            tuple(_of_encoder(entry, encoder.tensors.root) for entry in _stored(encoder, has_head=False)),
            tuple(_of_decoder(entry) for entry in (*_crossing(decoder.tensors), *_stored(decoder))),
        )
        return replace(self, tensors=tensors, spelling=_spelling(encoder, decoder))

    def document(self, data: Mapping[str, Any]) -> Document:
        """Return the document of a config. Raises InputError naming the config's field."""
        config = Config(data)
        self._template(config)
        raise_all([*self._constraint_errors(config), *self._unsupported_keys(config)])
        parts = {role: _document(role, part) for role, part in zip(("encoder", "decoder"), _parts(data), strict=True)}
        encoder, decoder = parts["encoder"], parts["decoder"]
        if encoder["d_model"] != decoder["d_model"]:
            raise config.error(
                "encoder.hidden_size", encoder["d_model"], f"{decoder['d_model']}, the width of the decoder"
            )
        misspelled: list[Document] = []
        for role, part in parts.items():
            provenance = part.get("about", {}).get("provenance", {})
            config.ignored.update({f"{role}.{name}": None for name in provenance.get("ignored", ())})
            misspelled += _misspelled(role, provenance.get("assumed", ()))
        return {
            **decoder,
            "name": self._name(data),
            "encoder": encoder["encoder"] | {field: encoder.get(field) for field in OWN},
            "decoder": _with_cross(decoder["decoder"]),
            "extras": [*(decoder.get("extras") or ()), *(POOLER if encoder.get("pooler") else ())],
            "about": _with_assumed(self._provenance(config), misspelled),
        }

    def configs(self, spec: Spec, misfits: list[Misfit] | None = None) -> Iterator[dict[str, Any]]:
        """Yield the config of a spec whose stacks are models of their own, if it is one."""
        if spec.encoder is None or spec.decoder is None or spec.encoder.embedding is None:
            return
        encoder = _written(_encoder_alone(spec), TYPES)
        decoder = _written(_decoder_alone(spec, _without_cross), TYPES) or _written(
            _decoder_alone(spec, _with_idle_cross), DECODERS
        )
        if encoder and decoder:
            yield {
                "model_type": self.model_type,
                "architectures": list(self.classes),
                "is_encoder_decoder": True,
                "encoder": encoder,
                "decoder": decoder | CROSSES,
            }


def _written(spec: Spec, types: tuple[str, ...]) -> dict[str, Any] | None:
    """Return the config of one part, if one of these types expresses it."""
    rows = (row for family in map(family_of, types) for row in (family, *family.forms))
    for config in (config for row in rows for config in row.configs(spec)):
        try:
            if is_same_architecture(decode(from_config(config)), spec):
                return config
        except InputError:
            continue
    return None


def _parts(data: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the configs of the encoder and of the decoder, each with the class that is built of it."""
    encoder = _part(data, "encoder", {}, TYPES)
    decoder = _part(data, "decoder", CROSSES, (*TYPES, *DECODERS))
    bare = next(name for name, kind in upstream.classes(encoder["model_type"]).items() if kind in ("Model", "Encoder"))
    is_row = decoder["model_type"] in DECODERS
    for name in ("add_cross_attention",) if is_row else CROSSES:
        if decoder.get(name) is not True:
            raise Config(decoder, "decoder").error(name, decoder.get(name), "true, for a decoder that reads an encoder")
    unread = ("architectures",) if is_row else ("architectures", "add_cross_attention")
    return encoder | {"architectures": [bare]}, {name: value for name, value in decoder.items() if name not in unread}


def _part(data: Mapping[str, Any], role: str, default: Mapping[str, Any], types: tuple[str, ...]) -> dict[str, Any]:
    """Return the config of a part; BERT's where it names no other type."""
    config = Config(data)
    found = config.get(role, MAPPING) if data.get(role) is not None else default
    part = Config({"model_type": "bert", **found}, role)
    if part.get("model_type", TEXT) not in types:
        raise part.error("model_type", part.data["model_type"], ", ".join(types))
    return dict(part.data)


def _document(role: str, config: dict[str, Any]) -> Document:
    try:
        return from_config(config)
    except InputError as error:
        where = f"{role}.{error.where}" if error.where else role
        raise error.at(where) from None


def _misspelled(role: str, assumed: Sequence[Document]) -> list[Document]:
    """Return the assumptions about misspelled keys of a part, with the paths of the keys."""
    return [
        one | {"value": f"{role}.{one['value']}", "of": f"{role}.{one['of']}"}
        for one in assumed
        if one["kind"] == "default"
    ]


def _with_assumed(about: Document, assumed: list[Document]) -> Document:
    provenance = about.get("provenance", {})
    return about | {"provenance": provenance | {"assumed": [*provenance.get("assumed", ()), *assumed]}}


def _with_cross(stack: Document) -> Document:
    """Return a decoder whose layers attend to the encoder as they attend to themselves."""

    def crossing(layer: Document) -> Document:
        return layer | {"cross": layer["attention"], "cross_reads": "source"}

    return stack | {"runs": [run | {"pattern": list(map(crossing, run["pattern"]))} for run in stack["runs"]]}


def _encoder_alone(spec: Spec) -> Spec:
    """Return the bare model of the encoder, with its pooler if it has one."""
    from archcalc.spec.model import Dropout, Pooler

    stack = spec.encoder
    assert stack is not None, "the model has an encoder"
    own = {field: value for field in OWN if (value := getattr(stack, field)) is not None}
    has_pooler = any(extra.name in POOLER_NAMES for extra in spec.extras)
    fields = {
        "encoder": replace(stack, **dict.fromkeys(OWN)),
        "decoder": None,
        "head": None,
        "pooler": Pooler() if has_pooler else None,
        "extras": (),
        "dropout": Dropout(
            embedding=spec.dropout.embedding, attention=spec.dropout.attention, residual=spec.dropout.residual
        ),
    }
    return replace(spec, **own, **fields)


def _decoder_alone(spec: Spec, change: Callable[[Layer], Layer]) -> Spec:
    """Return the causal model of the decoder, each layer changed."""
    stack = spec.decoder
    assert stack is not None, "the model has a decoder"
    runs = tuple(replace(run, pattern=tuple(map(change, run.pattern))) for run in stack.runs)
    extras = tuple(extra for extra in spec.extras if extra.name not in POOLER_NAMES)
    return replace(spec, encoder=None, decoder=replace(stack, runs=runs), extras=extras)


def _without_cross(layer: Layer) -> Layer:
    return replace(layer, cross=None)


def _with_idle_cross(layer: Layer) -> Layer:
    """Return a layer as the class builds it without an encoder: its cross-attention has no scale of its own then."""
    return replace(layer, cross=layer.cross and replace(layer.cross, scale=None), cross_reads="nothing")


# What is the model's, not a stack's.
_OUTSIDE = ("embed.", "head.", "extras.")


def _stored(family: Family, *, has_head: bool = True) -> Iterator[TensorEntry]:
    for entry in family.tensors.entries:
        if has_head or not any(name.startswith("head.") or "second_bias" in name for name in entry.ours):
            yield entry


def _crossing(tensors: TensorMap) -> Iterator[TensorEntry]:
    """Yield the entries of cross-attention, after those of self-attention."""
    for entry in tensors.entries:
        is_attention = all(name.startswith(("layers.{i}.attn.", "layers.{i}.attn_norm.")) for name in entry.ours)
        if is_attention and ".attention." in entry.name:
            ours = tuple(name.replace(".attn", ".cross", 1) for name in entry.ours)
            yield replace(entry, name=entry.name.replace(".attention.", ".crossattention.", 1), ours=ours)


def _of_encoder(entry: TensorEntry, root: str) -> TensorEntry:
    """Return an entry of the bare encoder, whose pooler is never read."""
    ours = tuple(name if name.startswith("extras.") else f"encoder.{name}" for name in entry.ours)
    requires = f"encoder.{entry.requires}" if entry.requires else ""
    return replace(entry, name=f"encoder.{entry.name.removeprefix(root)}", ours=ours, requires=requires)


def _of_decoder(entry: TensorEntry) -> TensorEntry:
    ours = tuple(name if name.startswith(_OUTSIDE) else f"decoder.{name}" for name in entry.ours)
    return replace(entry, name=f"decoder.{entry.name}", ours=ours)


def _spelling(encoder: Family, decoder: Family) -> Spelling:
    """Return the spelling of both parts."""
    copies = {f"decoder.{name}": f"decoder.{other}" for name, other in decoder.spelling.copies.items()}
    absent = {f"decoder.{name}": f"decoder.{other}" for name, other in decoder.spelling.absent.items()}
    return Spelling(renames={**encoder.spelling.renames, **decoder.spelling.renames}, copies=copies, absent=absent)


ENCODER_DECODER = ComposedFamily(
    "encoder-decoder",
    ("EncoderDecoderModel",),
    {"encoder": PartKey("encoder"), "decoder": PartKey("decoder")},
    table(),
    (Constraint("is_encoder_decoder", (True,)),),
    keys("vocab_size hidden_size tie_word_embeddings"),
    is_encoder_decoder=True,
    needs={"encoder": {"model_type": "bert"}, "decoder": {"model_type": "bert", **CROSSES}},
    runs_pooler=True,
)

FAMILIES = (ENCODER_DECODER,)
