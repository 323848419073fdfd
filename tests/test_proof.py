"""The readings of a spec are equal: ledger and modules for any spec, transformers for every preset that it knows."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given

from archcalc import presets
from archcalc.errors import InputError
from archcalc.nn.build import build
from archcalc.proof import Difference, differences, verify
from archcalc.sources import load
from archcalc.spec import Spec
from tests.examples import examples
from tests.strategies import specs
from tests.test_workloads import shallow

# Presets that no class of transformers has the architecture of, each with the reason.
UNKNOWN_TO_TRANSFORMERS = {
    "happy": "a post-norm decoder with a biased, untied head",
    "tiny-seq2seq": "norms before, learned positions, no biases",
}


@examples(300)
@given(specs())
def test_ledger_is_module_for_any_spec(spec: Spec) -> None:
    (found,) = verify(spec)
    assert found.differences == ()
    assert found.tensors > 0


@pytest.mark.parametrize("name", presets.names())
def test_ledger_is_module_for_presets(name: str) -> None:
    (found,) = verify(load(name))
    assert found.is_equal


@pytest.mark.parametrize("name", [name for name in presets.names() if name not in UNKNOWN_TO_TRANSFORMERS])
def test_ledger_is_transformers_for_presets(name: str) -> None:
    _, found = verify(load(name), against="transformers")
    assert found.differences == ()


@pytest.mark.parametrize("name", UNKNOWN_TO_TRANSFORMERS)
def test_unknown_to_transformers_is_said(name: str) -> None:
    with pytest.raises(InputError, match="no Hugging Face model has the architecture"):
        verify(load(name), against="transformers")


@pytest.mark.parametrize("name", presets.names())
def test_forward_on_meta(name: str) -> None:
    spec = shallow(name)
    model = build(spec)
    ids = torch.empty(2, min(7, spec.n_ctx), dtype=torch.long, device="meta")
    with torch.no_grad():
        logits = model(ids, ids) if spec.family == "encoder-decoder" else model(ids)
    assert logits.device.type == "meta"
    assert tuple(logits.shape) == (*ids.shape, spec.vocab_size)


def test_differences_name_what_differs_and_what_is_missing() -> None:
    ours = {"a": "[2, 3] trainable", "b": "[4] trainable", "c": "[1] buffer"}
    theirs = {"a": "[3, 2] trainable", "c": "[1] buffer", "d": "[5] frozen"}
    assert differences(ours, theirs) == [
        Difference("a", "[2, 3] trainable", "[3, 2] trainable"),
        Difference("b", "[4] trainable", None),
        Difference("d", None, "[5] frozen"),
    ]
