"""RoBERTa with entities beside the tokens (LUKE), counted with its entities and run on words alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, final

import msgspec
from msgspec.structs import replace

from archcalc.hf.config import Config
from archcalc.hf.families.bert_like import BEFORE, ROBERTA
from archcalc.hf.family import Family, row_builder
from archcalc.hf.heads import LABELS, extra_modules
from archcalc.hf.lens import ConfigDraft, ConfigLens, MismatchError, Template
from archcalc.hf.templates.bert_like import DECODER_BIAS, TIED, ContextAfterPadding, bert_like
from archcalc.hf.tensors import TensorEntry, TensorMap, modules, table
from archcalc.hf.vocabulary import flag, size

VOCAB, WIDTH = size("entity_vocab_size", 500_000), size("entity_emb_size", 256)
POSITIONS, TYPES = size("max_position_embeddings", 512), size("type_vocab_size", 2)
STATES = size("hidden_size", 768)
IS_AWARE = flag("use_entity_aware_attention", True)
QUERIES = ("w2e", "e2w", "e2e")
# By kind of class, how many vectors its labels are scored from: the entity's, two entities', entity, start and end.
SCORED = {"ForEntityClassification": 1, "ForEntityPairClassification": 2, "ForEntitySpanClassification": 3}
PAIR = 2  # whose labels have no biases


@final
class EntityTensors(ConfigLens, msgspec.Struct, frozen=True):
    """The tensors that only texts with entities use.

    With `has_head` also those of the head that predicts entities, with `n_scored` those of the labels that are scored
    from so many vectors.
    """

    has_head: bool = False
    has_pooler: bool = False
    n_scored: int = 0

    def names(self) -> Iterator[str]:
        """Yield the keys of the sizes, of the queries, and of whether tables are tied."""
        for key in (VOCAB, WIDTH, IS_AWARE, TIED, *([LABELS] if self.n_scored else [])):
            yield from key.names()

    def read(self, config: Config) -> tuple[dict[str, Any], ...]:
        """Return the tensors."""
        n_entities, width = VOCAB.read(config), WIDTH.read(config)
        shapes: dict[str, tuple[Template, ...]] = {
            "entities.embed": (n_entities, width),
            "entities.positions": (POSITIONS.read(config), "d_model"),
            "entities.types": (TYPES.read(config), "d_model"),
        }
        if width != STATES.read(config):
            shapes["entities.dense"] = ("d_model", width)
        tables, is_tied = tuple(shapes), TIED.read(config)
        shapes["entities.norm"] = ("d_model",)
        if self.has_pooler:
            shapes["pooler"] = ("d_model", "d_model")
        queries = _queries() if IS_AWARE.read(config) else ()
        if not self.has_head:
            return (*extra_modules(shapes, no_bias=tables), *queries, *self._labels(config))
        shapes |= {"entities.head.dense": (width, "d_model"), "entities.head.norm": (width,)}
        bias = {"name": "entities.head.bias", "axes": (n_entities,), "component": "head", "storage": "trainable"}
        found = (*extra_modules(shapes, no_bias=tables), *queries, bias)
        return found if is_tied else (*found, bias | _DECODER | {"axes": (n_entities, width)}, DECODER_BIAS)

    def _labels(self, config: Config) -> Iterator[dict[str, Any]]:
        """Yield the matrix that scores labels, and its biases; nothing if none are scored."""
        if not self.n_scored:
            return
        n_labels = LABELS.read(config)
        yield _SCORES | {"axes": (n_labels, self.n_scored * STATES.read(config))}
        if self.n_scored != PAIR:
            yield _SCORES | {"name": "entities.labels.bias", "axes": (n_labels,)}

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put the sizes, and which tensors there are. Raises MismatchError without entities."""
        axes = {extra["name"]: extra["axes"] for extra in value}
        if "entities.embed.weight" not in axes or (self.n_scored > 0) != (_SCORES["name"] in axes):
            raise MismatchError
        draft.put(VOCAB.name, axes["entities.embed.weight"][0])
        draft.put(WIDTH.name, axes["entities.embed.weight"][1])
        draft.put(IS_AWARE.name, "entities.w2e.weight" in axes)
        if self.has_head:
            draft.put(TIED.name, _DECODER["name"] not in axes)
        if self.n_scored:
            draft.put(LABELS.count.name, axes[_SCORES["name"]][0])


def _queries() -> Iterator[dict[str, Any]]:
    """Yield the projections of queries by what attends to what, those of all layers in one tensor."""
    for name in QUERIES:
        for kind, axes in (("weight", ("n_layers", "d_model", "d_model")), ("bias", ("n_layers", "d_model"))):
            yield {"name": f"entities.{name}.{kind}", "axes": axes, "component": "other", "storage": "trainable"}


_SCORES: dict[str, Any] = {"name": "entities.labels.weight", "component": "head", "storage": "trainable"}
_DECODER = {"name": "entities.head.decoder.weight"}


@row_builder
def entity_like(model_type: str, *classes: str, **switches: Any) -> Family:
    """Return a BERT-like family whose classes have further tensors for entities."""
    family = bert_like(model_type, *classes, **switches).family
    poolers = ("ForTokenClassification", "ForQuestionAnswering")
    heads = {
        kind: {**fields, "extras": EntityTensors(has_pooler="pooler" not in fields and kind not in poolers)}
        for kind, fields in family.class_heads.items()
        if isinstance(fields, dict)
    }
    heads |= {kind: {**family.class_heads["Model"], "extras": EntityTensors(n_scored=n)} for kind, n in SCORED.items()}
    return replace(
        family,
        template={**_fields(family), "extras": EntityTensors(has_head=True, has_pooler=True)},
        tensors=_with_entities(family.tensors),
        class_heads=heads,
        runs_pooler=True,
    )


def _fields(family: Family) -> dict[str, Any]:
    assert isinstance(family.template, dict), "a template of BERT's kind"
    return family.template


def _with_entities(tensors: TensorMap) -> TensorMap:
    entities = "luke.entity_embeddings"
    layer = "luke.encoder.layer.{e}.attention.self"
    return replace(
        tensors,
        entries=table(
            TensorEntry("lm_head.decoder.bias", ("head.bias",), requires="extras.second_bias"),
            tuple(entry for entry in tensors.entries if entry.name != "lm_head.decoder.bias"),
            modules(
                {
                    "extras.entities.embed": f"{entities}.entity_embeddings",
                    "extras.entities.positions": f"{entities}.position_embeddings",
                    "extras.entities.types": f"{entities}.token_type_embeddings",
                    "extras.entities.dense": f"{entities}.entity_embedding_dense",
                    "extras.entities.norm": f"{entities}.LayerNorm",
                    **{f"extras.entities.{name}": f"{layer}.{name}_query" for name in QUERIES},
                    "extras.entities.head.dense": "entity_predictions.transform.dense",
                    "extras.entities.head.norm": "entity_predictions.transform.LayerNorm",
                    "extras.entities.head.decoder": "entity_predictions.decoder",
                    "extras.entities.labels": "classifier",
                }
            ),
            TensorEntry("entity_predictions.bias", ("extras.entities.head.bias",)),
        ).entries,
    )


LUKE = entity_like(
    "luke",
    "LukeForMaskedLM",
    **{
        **ROBERTA.switches,
        "root": "luke",
        "vocab_size": size("vocab_size", 50267),
        "n_ctx": ContextAfterPadding(POSITIONS, BEFORE),
        "tied": False,
        "causal_key": None,
    },
)

FAMILIES = (LUKE,)
