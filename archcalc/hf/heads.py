"""Heads of the classes of a model type, by the kind in the class's name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, final

import msgspec

from archcalc.hf.config import FLAG, MAPPING, SIZE, Config
from archcalc.hf.lens import Choice, ConfigDraft, ConfigLens, Key, Template
from archcalc.hf.tensors import TOKEN_TABLE, TensorEntry, TensorMap, module
from archcalc.hf.vocabulary import positive, size


@final
class LabelCount(ConfigLens, msgspec.Struct, frozen=True):
    """The number of labels: the length of `id2label`, else `num_labels`."""

    names_of: Key = Key("id2label", MAPPING, None, null=None)
    count: Key = Key("num_labels", SIZE, 2, null=2)

    def names(self) -> Iterator[str]:
        """Yield both keys."""
        yield from (self.names_of.name, self.count.name)

    def read(self, config: Config) -> int:
        """Return the number of labels. Raises InputError if `id2label` is empty."""
        labels = self.names_of.read(config)
        if labels is not None and not labels:
            raise config.error(self.names_of.name, labels, "a label at least")
        return len(labels) if labels else int(self.count.read(config))

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put `num_labels`."""
        draft.put(self.count.name, value)


def scores(n_labels: Any, *, bias: Template = True, **labels: Any) -> Template:
    """Return a head that scores labels."""
    return {"bias": bias, "labels": {"n_labels": n_labels, **labels}}


def extra_modules(
    shapes: Mapping[str, tuple[Template, ...]], *, no_bias: tuple[str, ...] = ()
) -> tuple[dict[str, Template], ...]:
    """Return the weights with these shapes, and their biases, of modules that the logits do not depend on."""
    tensors = {f"{name}.weight": axes for name, axes in shapes.items()}
    tensors |= {f"{name}.bias": axes[:1] for name, axes in shapes.items() if name not in no_bias}
    return tuple(
        {"name": name, "axes": axes, "component": "other", "storage": "trainable"} for name, axes in tensors.items()
    )


def summary_switch(name: str, value: Template) -> Choice:
    """Return the value of a place that the class has only with this switch of its summary, which is refused if off."""
    return Choice(Key(name, FLAG, True), {True: value})


LABELS = LabelCount()
# The labels of a text, from its last token (LLaMA's classifiers).
TEXT_LABELS: dict[str, Template] = {
    "bias": False,
    "labels": {"n_labels": LABELS, "reads": "last", "picks": "after"},
}
EVERY_TOKEN: Template = {"head": scores(LABELS)}
NONE: Template = {"head": None}

ENDS: Template = {"head": scores(2)}
ENCODER: Template = {"decoder": None}

# By kind of class, the fields that replace those of the language model. `Family.class_heads` adds to these.
ONE_STACK: Mapping[str, Template] = {
    "Model": NONE,
    "DecoderModel": NONE,
    "ForSequenceClassification": {"head": TEXT_LABELS},
    "ForTokenClassification": EVERY_TOKEN,
    "ForQuestionAnswering": ENDS,
    "ForDecision": {"head": scores(size("num_verbalizers", 24)) | {"softcap": positive("softcap", None, null=None)}},
}
TWO_STACKS: Mapping[str, Template] = {
    "Model": NONE,
    "EncoderModel": NONE | ENCODER,
    "ForSequenceClassification": {"head": scores(LABELS, reads="last") | {"transform": {"activation": "tanh"}}},
    "ForTokenClassification": EVERY_TOKEN | ENCODER,
    "ForQuestionAnswering": ENDS,
}

# Names of the modules of these heads, in the order of preference.
_HEAD_NAMES: Mapping[str, tuple[str, ...]] = {
    "head": (
        "logits_proj",
        "classifier",
        "score",
        "qa_outputs",
        "classifier.out_proj",
        "score.out_proj",
        "classification_head.out_proj",
        "cls.seq_relationship",
        "proj",
        "discriminator_predictions.dense_prediction",
        "sequence_summary.summary",
    ),
    "head.transform": (
        "classification_head.dense",
        "discriminator_predictions.dense",
        "head.dense",
        "dense",
        "sequence_summary.summary",
    ),
    "head.norm": ("head.norm",),
    "pooler": (
        "{root}pooler.dense",
        "pooler.dense",
        "{root}pooler",
        "classifier.dense",
        "pre_classifier",
        "sequence_summary.summary",
    ),
}


def class_tensors(tensors: TensorMap, *, is_encoder: bool) -> TensorMap:
    """Return the map of a class with another head than the language model's, or with none.

    `is_encoder`: of the two stacks of its model type, the class has the encoder alone.
    """
    candidates = tuple(
        entry
        for ours, names in _HEAD_NAMES.items()
        for name in names
        for entry in module(ours, name.replace("{root}", tensors.root))
    )
    # The name under which transformers 5.23 saves the matrix of a decision head.
    candidates = (*candidates, TensorEntry("weight", ("head.weight",)))
    entries = [_any_head(entry) for entry in tensors.entries]
    if is_encoder:
        entries = [_of_encoder(entry) for entry in entries]
        # The table of both stacks, of the encoder or of the decoder: by what the class has.
        candidates = (*candidates, *(entry for entry in entries if entry.ours == (TOKEN_TABLE,)))
        entries = [entry for entry in entries if entry.ours != (TOKEN_TABLE,)]
    return msgspec.structs.replace(tensors, entries=tuple(entries), candidates=candidates)


def _any_head(entry: TensorEntry) -> TensorEntry:
    """Return an entry that does not depend on whether the language model's head is tied."""
    return msgspec.structs.replace(entry, requires="") if entry.requires == "head.weight" else entry


def _of_encoder(entry: TensorEntry) -> TensorEntry:
    """Return an entry of the encoder as that of a single stack."""
    ours = tuple(name.removeprefix("encoder.") for name in entry.ours)
    requires = "" if ours == (TOKEN_TABLE,) else entry.requires.removeprefix("encoder.")
    return msgspec.structs.replace(entry, ours=ours, requires=requires)
