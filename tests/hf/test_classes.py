"""What each class of a model type holds, against transformers."""

from __future__ import annotations

import math

import pytest
import transformers

import archcalc
from archcalc.errors import InputError
from archcalc.hf import family_of, from_config, model_types, tensor_map, to_config, upstream
from archcalc.hf.equivalence import is_same_architecture
from archcalc.hf.reference import build_reference, reference_shapes
from archcalc.ledger.build import build
from archcalc.spec.document import decode
from tests.hf.hf_configs import CONFIGS, LLAMA

# Classes that hear, speak, or read what another model computed.
NOT_READ = {
    "SeamlessM4TForSpeechToSpeech",
    "SeamlessM4TForSpeechToText",
    "SeamlessM4TForTextToSpeech",
    "SeamlessM4TModel",
    "SeamlessM4TTextToUnitForConditionalGeneration",
    "SeamlessM4TTextToUnitModel",
    "SeamlessM4Tv2ForSpeechToSpeech",
    "SeamlessM4Tv2ForSpeechToText",
    "SeamlessM4Tv2ForTextToSpeech",
    "SeamlessM4Tv2Model",
    "WhisperForAudioClassification",
    "WhisperForConditionalGeneration",
    "WhisperModel",
}


# What a class asks of its config.
ASKED = {"T5GemmaEncoderModel": {"is_encoder_decoder": False}}


def smallest(model_type: str) -> dict:
    """A config with small sizes, of the type's first class if there is one."""
    named = [config for name, config in CONFIGS.items() if name.split(":")[0] == model_type and len(config) > 3]
    return min(named, key=lambda config: ("architectures" in config, len(config)))


def read_classes(model_type: str) -> list[str]:
    family = family_of(model_type)
    return [*family.classes, *family.other_classes, *(form.classes[0] for form in family.forms)]


@pytest.mark.slow
@pytest.mark.parametrize("model_type", model_types())
def test_every_class_counts_what_transformers_builds(model_type: str) -> None:
    config = {key: value for key, value in smallest(model_type).items() if key not in ("model_type", "architectures")}
    for name in read_classes(model_type):
        if not hasattr(transformers, name):
            continue
        # An answer has two ends.
        n_labels = {"num_labels": 2 if "QuestionAnswering" in name else 3}
        causal = next((form.fixed_keys for form in family_of(model_type).forms if name == form.classes[0]), {})
        stated = {"model_type": model_type, "architectures": [name]} | config | n_labels | causal
        stated |= ASKED.get(name, {})
        spec = decode(from_config(stated))
        ledger, (theirs, _) = build(spec), reference_shapes(build_reference(stated))
        assert ledger.total() == sum(math.prod(shape) for shape in theirs.values()), name
        ours = {tensor.name: tensor.shape for tensor in ledger.tensors() if tensor.kind != "buffer"}
        assert tensor_map(stated).named_shapes(ours, theirs) == theirs, name
        assert is_same_architecture(decode(from_config(to_config(spec))), spec), name


def test_every_other_class_is_named_here() -> None:
    other_classes = {name for model_type in model_types() for name in upstream.classes(model_type)}
    read = {name for model_type in model_types() for name in read_classes(model_type)}
    assert other_classes - read == NOT_READ


@pytest.mark.parametrize(
    ("more", "n_labels"),
    [({}, 2), ({"num_labels": 5}, 5), ({"id2label": {"0": "a", "1": "b", "2": "c"}, "num_labels": 5}, 3)],
    ids=str,
)
def test_labels_are_counted_as_transformers_does(more: dict, n_labels: int) -> None:
    config = {"model_type": "llama", "architectures": ["LlamaForSequenceClassification"]} | LLAMA | more
    assert decode(from_config(config)).head.labels.n_labels == n_labels


def test_labels_that_are_none_are_refused() -> None:
    config = {"model_type": "llama", "architectures": ["LlamaForSequenceClassification"], "id2label": {}}
    with pytest.raises(InputError, match="id2label: found a mapping; expected a label at least"):
        from_config(config)


def texts(assumed: tuple) -> tuple[str, ...]:
    return tuple(map(str, assumed))


def test_without_a_class_the_language_model_is_assumed() -> None:
    assert texts(archcalc.load({"model_type": "llama"}).about.provenance.assumed) == ("the class LlamaForCausalLM",)
    assert texts(archcalc.load({"model_type": "bert"}).about.provenance.assumed) == ("the class BertForMaskedLM",)
    assert texts(archcalc.load({"model_type": "bert", "is_decoder": True}).about.provenance.assumed) == (
        "the class BertLMHeadModel",
    )


def test_global_tokens_that_follow_from_the_text_are_left_out_with_a_note() -> None:
    note = "no global tokens, which follow from the text's separators"
    for kind, n_global in (("QuestionAnswering", 0), ("MultipleChoice", 0), ("SequenceClassification", 1)):
        spec = archcalc.load({"model_type": "longformer", "architectures": [f"LongformerFor{kind}"]})
        attention = spec.encoder.runs[0].pattern[0].attention
        assert (attention.n_global, note in texts(spec.about.provenance.assumed)) == (n_global, not n_global)


def test_a_class_of_another_type_is_refused() -> None:
    with pytest.raises(InputError, match="architectures: found 'BertModel'; expected LlamaForCausalLM, Llama"):
        from_config({"model_type": "llama", "architectures": ["BertModel"]})
