"""What archcalc does not read is refused in one sentence, and transformers counts it: model types and classes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers

import archcalc
from archcalc.coverage import LANGUAGE_MODELS
from archcalc.errors import InputError
from archcalc.hf import model_types, upstream
from archcalc.hf.reference import quiet
from tests.hf import oracle
from tests.hf.test_classes import NOT_READ

UNREAD = sorted({*upstream.model_types(), "perceiver"} - {*model_types()})
OFFER = "`report` counts its parameters with `engine` transformers"
# What the class does not fill in, and its files say.
STATED: dict[str, dict[str, Any]] = {
    "qwen4_exp_text": dict.fromkeys(("indexer_n_heads", "indexer_kv_heads"), 1)
    | {"indexer_head_dim": 256, "indexer_budget": 2048, "indexer_compress_ratio": 4},
}


def built(class_name: str, keys: dict[str, Any]) -> int:
    """The parameters of a class of transformers, each once."""
    with quiet(), torch.device("meta"):
        found = getattr(transformers, class_name)
        return sum(weight.numel() for weight in found(found.config_class(**keys)).parameters())


def counted(config: dict[str, Any]) -> tuple[str, int]:
    """The class and the total that a report has after the refusal that offers it."""
    with pytest.raises(InputError, match=OFFER):
        archcalc.load(config)
    found = archcalc.report(config, engine="transformers")
    return found["provenance"]["class_name"], found["params"]["total"]


@pytest.mark.parametrize("model_type", UNREAD)
def test_a_type_that_is_not_read_is_counted(model_type: str) -> None:
    kinds, keys = upstream.classes(model_type), STATED.get(model_type, {})
    name = next((name for name, kind in kinds.items() if kind in LANGUAGE_MODELS), "PerceiverForMaskedLM")
    line = oracle.defaults().get(f"{model_type} {name}")
    wanted = line["total_params"] if line else built(name, keys)
    assert counted({"model_type": model_type, **keys}) == (name, wanted)


@pytest.mark.parametrize("name", sorted(NOT_READ))
def test_a_class_that_is_not_read_is_counted(name: str) -> None:
    (model_type,) = (each for each in model_types() if name in upstream.classes(each))
    keys = {key: 1 for key in upstream.keys(model_type) if key.endswith("layers") and key != "t2u_layers"}
    assert counted({"model_type": model_type, "architectures": [name], **keys}) == (name, built(name, keys))
