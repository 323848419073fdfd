"""Classifiers and bare models, saved by transformers, give the outputs of their classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

import archcalc
from archcalc.checkpoint import open_checkpoint
from archcalc.errors import InputError
from archcalc.hf import family_of, model_types
from tests.checkpoint.random_models import CONFIGS, random_model
from tests.checkpoint.test_logits import assert_close

# What these return is searched for from the starts that we score.
BEAMS = ("XLMForQuestionAnswering", "FlaubertForQuestionAnswering", "XLNetForQuestionAnswering")
# This hides the scores of all tokens outside the cells of a table.
CELLS = "TapasForQuestionAnswering"
# A class of its own model type, which reads a text model: `test_decisions_are_scored_at_their_marks`.
DECISION = "JevForDecision"
# These score entities, which our model reads none of: they are counted alone.
ENTITIES = ("LukeForEntityClassification", "LukeForEntityPairClassification", "LukeForEntitySpanClassification")
EOS, PAD = 2, 0
# What classes set by the separators in a text, if it is not given: here, that there are none.
GIVEN = {
    "BigBirdForQuestionAnswering": ("token_type_ids", "question_lengths"),
    "LongformerForMultipleChoice": ("global_attention_mask",),
    "LongformerForQuestionAnswering": ("global_attention_mask",),
}
NAMES = {model_type: next(name for name in CONFIGS if name.split(" ")[0] == model_type) for model_type in model_types()}


def other_classes(model_type: str) -> list[str]:
    family = family_of(model_type)
    names = [*family.classes[1:], *family.other_classes, *(form.classes[0] for form in family.forms)]
    left_out = (*BEAMS, CELLS, DECISION, *ENTITIES)
    return [name for name in dict.fromkeys(names) if hasattr(transformers, name) and name not in left_out]


def random_class(model_type: str, class_name: str) -> Any:
    """Return a random model of a class, with as many labels as the class allows and tokens that end and pad."""
    forms = family_of(model_type).forms
    keys = next((form.fixed_keys for form in forms if class_name == form.classes[0]), {})
    n_labels = 2 if "QuestionAnswering" in class_name else 3
    stated = CONFIGS[NAMES[model_type]]
    more = {
        "pad_token_id": stated.get("pad_token_id") or PAD,
        "eos_token_id": EOS,
        "decoder_start_token_id": 1,
        "num_labels": n_labels,
    }
    if model_type == "opt" and class_name == "OPTModel":
        more |= {"word_embed_proj_dim": stated["hidden_size"]}  # refused if it is another width
    if class_name == "T5GemmaEncoderModel":
        more |= {"is_encoder_decoder": False}  # which the class asks for
    return random_model(NAMES[model_type], class_name, **(more | keys))


def output(model: Any, ids: Tensor, source: Tensor | None) -> Tensor:
    """Return what the class of transformers computes of ids, and of a source if it has two stacks."""
    name = type(model).__name__
    if "MultipleChoice" in name:
        ids = ids.unsqueeze(1)
    given = {key: torch.zeros_like(ids[:, :1] if "lengths" in key else ids) for key in GIVEN.get(name, ())}
    found = model(ids, **given) if source is None else model(input_ids=source, decoder_input_ids=ids)
    if "start_logits" in found:
        return torch.stack([found.start_logits, found.end_logits], -1)
    if key := next((key for key in ("logits", "prediction_logits") if key in found), None):
        return found[key].unsqueeze(-1) if type(model) is transformers.ElectraForPreTraining else found[key]
    return found[0] if found.get("pooler_output") is None else found.pooler_output


@pytest.mark.slow
@pytest.mark.parametrize("model_type", model_types())
@torch.no_grad()
def test_outputs_are_those_of_the_class(model_type: str, tmp_path: Path) -> None:
    for class_name in other_classes(model_type):
        theirs = random_class(model_type, class_name)
        theirs.save_pretrained(tmp_path / class_name)
        ours = open_checkpoint(str(tmp_path / class_name)).load()
        ids, source = torch.randint(6, 90, (2, 11)), torch.randint(6, 90, (2, 11))
        source[:, -1] = EOS  # the state of this token is classified
        is_pair = ours.spec.family == "encoder-decoder"
        wanted = output(theirs, ids, source if is_pair else None)
        found = ours(source, ids) if is_pair else ours(ids)
        assert found.shape == wanted.shape, class_name
        assert (found - wanted).abs().max() <= 1e-5 * wanted.abs().max(), class_name


@torch.no_grad()
def test_decisions_are_scored_at_their_marks(tmp_path: Path) -> None:
    torch.manual_seed(0)
    text = transformers.Qwen2Config(**CONFIGS[NAMES["qwen2"]]).to_dict()
    config = transformers.JevConfig(text_config=text, hidden_size=text["hidden_size"], num_verbalizers=9, softcap=0.5)
    theirs = transformers.JevForDecision(config).eval()
    for weight in theirs.parameters():
        weight.normal_(std=0.3)
    theirs.save_pretrained(tmp_path)
    ids = torch.randint(6, 90, (1, 11))
    # Two questions of the first type, whose options are the first rows.
    marks, n_options, types = torch.tensor([[4, 11]]), torch.tensor([[2, 2]]), torch.tensor([[0, 0]])
    wanted = theirs(ids, marks, n_options, types)
    found = open_checkpoint(str(tmp_path)).load()(ids)
    assert found.shape == (1, 11, 9)
    assert_close(found[0, [3, 10], :2].flatten(), wanted)


def test_a_decision_is_read_with_its_text_model() -> None:
    text = {"model_type": "qwen2"} | CONFIGS[NAMES["qwen2"]]
    spec = archcalc.load({"model_type": "jev", "hidden_size": text["hidden_size"], "text_config": text, "softcap": 0.5})
    assert (spec.head.labels.n_labels, spec.head.softcap) == (24, 0.5)
    assert archcalc.verify(spec, against="transformers")[1].is_equal
    for config, line in (
        ({"model_type": "jev"}, "text_config: found None; expected the config of its text model"),
        ({"model_type": "jev", "text_config": text}, "hidden_size: found 4096; expected that of text_config"),
    ):
        with pytest.raises(InputError, match=line):
            archcalc.load(config)


@pytest.mark.parametrize(
    ("class_name", "more"),
    [("Qwen3ForSequenceClassification", {"num_labels": 1}), ("Qwen3Model", {})],
    ids=["reward", "embedding"],
)
@torch.no_grad()
def test_padding_is_left_out(class_name: str, more: dict[str, Any], tmp_path: Path) -> None:
    theirs = random_model("qwen3", class_name, pad_token_id=PAD, **more)
    theirs.save_pretrained(tmp_path)
    ours = archcalc.load_model(tmp_path)
    ids, is_padding = torch.randint(6, 90, (2, 7)), torch.zeros(2, 7, dtype=torch.bool)
    ids[1, 4:], is_padding[1, 4:] = PAD, True
    found, alone = ours(ids, padding_BT=is_padding), ours(ids[1:, :4])
    wanted = theirs(ids, attention_mask=(~is_padding).long())
    if more:
        assert_close(found, wanted.logits)
        assert_close(found[1:], alone)
    else:
        assert_close(found[~is_padding], wanted.last_hidden_state[~is_padding])


def test_a_bare_model_whose_states_are_projected_is_refused() -> None:
    config = {"model_type": "opt", "architectures": ["OPTModel"], "hidden_size": 32, "word_embed_proj_dim": 20}
    with pytest.raises(InputError, match="word_embed_proj_dim: found 20; expected 32 for a model without a head"):
        archcalc.load(config | {"num_attention_heads": 4})


def test_a_file_with_another_head_is_refused(tmp_path: Path) -> None:
    random_model("qwen3").save_pretrained(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace("Qwen3ForCausalLM", "Qwen3ForTokenClassification"))
    with pytest.raises(InputError, match=r"'lm_head.weight': has shape \[96, 32\]; expected \[2, 32\]"):
        archcalc.load_model(tmp_path)
