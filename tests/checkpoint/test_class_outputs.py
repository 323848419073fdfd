"""Classifiers and bare models, saved by transformers, give the outputs of their classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

from archcalc.checkpoint import open_checkpoint
from archcalc.hf import family_of, model_types
from tests.checkpoint.random_models import CONFIGS, random_model

# What these return is searched for from the starts that we score.
BEAMS = ("XLMForQuestionAnswering", "FlaubertForQuestionAnswering")
EOS, PAD = 2, 0
NAMES = {model_type: next(name for name in CONFIGS if name.split(" ")[0] == model_type) for model_type in model_types()}


def other_classes(model_type: str) -> list[str]:
    family = family_of(model_type)
    names = [*family.classes[1:], *family.other_classes, *(form.classes[0] for form in family.forms)]
    return [name for name in dict.fromkeys(names) if hasattr(transformers, name) and name not in BEAMS]


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
    return random_model(NAMES[model_type], class_name, **(more | keys))


def output(model: Any, ids: Tensor, source: Tensor | None) -> Tensor:
    """Return what the class of transformers computes of ids, and of a source if it has two stacks."""
    if "MultipleChoice" in type(model).__name__:
        return model(input_ids=ids.unsqueeze(1)).logits
    found = model(ids) if source is None else model(input_ids=source, decoder_input_ids=ids)
    if "start_logits" in found:
        return torch.stack([found.start_logits, found.end_logits], -1)
    if name := next((name for name in ("logits", "prediction_logits") if name in found), None):
        return found[name].unsqueeze(-1) if type(model) is transformers.ElectraForPreTraining else found[name]
    return found[0] if found.get("pooler_output") is None else found.pooler_output


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
