"""Edits around generation: a source opened unpacked, its continuations changed at absolute positions."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from archcalc.errors import InputError
from archcalc.nn import taps
from archcalc.nn.model import SingleStack
from archcalc.run.decoding.generation import Generation, generation_workload
from archcalc.run.loading.source import LoadedModel, open_source
from archcalc.run.pack import PackedModel

PROMPTS = [[5, 9, 77, 30], [8, 3]]
CHANGES: dict[str, Any] = {"vocab_size": 300, "n_layers": 2}


def opened(**how: Any) -> LoadedModel:
    found = open_source("tiny", random_weights=True, changes=CHANGES)
    return found.load(generation_workload(found.spec, PROMPTS, 12), seed=3, **how)


@pytest.fixture
def ready() -> LoadedModel:
    """Weights large enough that the likeliest token is another at every step."""
    found = opened(packed=False)
    with torch.no_grad():
        for weight in found.model.parameters():
            weight.mul_(6)
    return found


def made(ready: LoadedModel, prompts: list[list[int]], **how: Any) -> list[list[int]]:
    found = Generation(ready, prompts, max_tokens=10, ignore_eos=True, **how)
    for _ in found:
        pass
    return [one.ids for one in found.completions]


def steering(ready: LoadedModel, at: Any) -> taps.Edit:
    torch.manual_seed(4)
    vector_D = 50 * torch.randn(ready.source.spec.d_model)
    return taps.Edit("resid_post", 0, lambda x_BTD: x_BTD + vector_D, at=at)


def without_a_cache(model: Any, prompt: list[int]) -> list[int]:
    ids = list(prompt)
    with torch.no_grad():
        for _ in range(10):
            ids.append(int(model(torch.tensor([ids]))[0, -1].argmax()))
    return ids[len(prompt) :]


@pytest.mark.parametrize("at", [None, 1, 6, slice(5, None), [0, 7, 8]], ids=str)
def test_an_edit_holds_for_prompt_and_generated_tokens(ready: LoadedModel, at: Any) -> None:
    """The shorter row is padded: its positions are its own."""
    plain = made(ready, PROMPTS)
    with taps.edit(ready.model, steering(ready, at)):
        found = made(ready, PROMPTS)
        assert found == [without_a_cache(ready.model, prompt) for prompt in PROMPTS]
    assert found != plain
    assert made(ready, PROMPTS) == plain
    first = 0 if at is None else {"1": 1, "6": 6, "[0, 7, 8]": 0}.get(str(at), 5)
    for row, prompt in enumerate(PROMPTS):
        n_same = max(0, first - len(prompt) + 1)  # what stands up to it was chosen before it was read
        assert found[row][:n_same] == plain[row][:n_same]


def test_beams_are_edited_too(ready: LoadedModel) -> None:
    plain = made(ready, PROMPTS, beams=3)
    with taps.edit(ready.model, steering(ready, slice(2, None))):
        assert made(ready, PROMPTS, beams=3) != plain
    assert made(ready, PROMPTS, beams=3) == plain


def test_unpacked_is_the_canonical_module() -> None:
    packed, canonical = opened(), opened(packed=False)
    assert isinstance(packed.model, PackedModel)
    assert type(canonical.model) is SingleStack
    assert made(packed, PROMPTS) == made(canonical, PROMPTS)
    with pytest.raises(InputError, match="quantize: found a model that is not packed; expected no value"):
        opened(packed=False, quantize="int8")
