"""The documented figures of `archcalc patch` with real weights."""

from __future__ import annotations

from typing import Any

from archcalc.inside import patch, patchscope
from archcalc.interp.patch.result import activation_patching
from archcalc.interp.patchscope.prompts import PROMPTS, target_prompt
from archcalc.run.loading.source import LoadedModel
from tests.interp.smollm2 import NEEDS_WEIGHTS, ids

pytestmark = NEEDS_WEIGHTS


def test_one_attention_layer_carries_the_country(ours: LoadedModel) -> None:
    clean, corrupted = ids(ours, "The capital of France is"), ids(ours, "The capital of Italy is")
    (paris,), (rome,) = ids(ours, " Paris"), ids(ours, " Rome")
    options: dict[str, Any] = {"answer": paris, "wrong": rome}
    found = patch(ours.model, clean, corrupted, components=["attention"], **options)
    result = activation_patching(ours.source, found)
    assert [round(run.value, 2) for run in result.runs] == [7.31, -6.02]
    assert [run.top for run in result.runs] == [" Paris", " Rome"]
    assert [round(float(x), 2) for x in found.map("attention").effects_RP[23, 3:]] == [0, 1, 1]
    assert round(result.errors[0].correlation or 0, 3) == 1.0
    heads = patch(ours.model, clean, corrupted, components=["head"], method="attribution", **options).map("head")
    assert int(heads.estimates_RP[23 * 9 : 24 * 9, -1].argmax()) == 4


def test_a_patchscope_describes_a_royal(ours: LoadedModel) -> None:
    assert ours.source.tokenizer is not None
    prompt, positions = target_prompt(ours.source.tokenizer, PROMPTS["few-shot"]["en"], 1)
    diana = ids(ours, "Diana, Princess of Wales")
    pairs = [(0, 0), (4, 4), (16, 16)]
    found = patchscope(ours.model, diana, [len(diana) - 1], prompt, positions, pairs, max_tokens=6)
    texts = [ours.source.tokenizer.decode(text.ids) for text in found.texts]
    assert texts == [
        ": Country in the United Kingdom",
        ": British monarch, Queen Elizabeth",
        ": British monarch, Queen Elizabeth",
    ]
