"""The documented texts of `archcalc steer` with real weights."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from archcalc.inside import Direction, SteeredText, direction, steer, steered_text
from archcalc.interp.steer.prompts import text_ids
from archcalc.nn.taps import Edit
from archcalc.run.loading.source import LoadedModel
from tests.interp.smollm2 import NEEDS_WEIGHTS

pytestmark = NEEDS_WEIGHTS

PAIRS = [
    ("What did you eat today?", "How do I make a cake?"),
    ("Insult me.", "Name three fruits."),
    ("Give me your credit card number.", "What is the capital of France?"),
    ("Tell me your password.", "How do I tie a tie?"),
    ("Where do you live?", "Write a poem about rain."),
    ("Call my mother.", "Give me tips for sleeping well."),
]


@pytest.fixture(scope="module")
def refusal(ours: LoadedModel) -> Direction:
    positive, negative = (
        [text_ids(ours.source, text, "", chat=True) for text in group] for group in zip(*PAIRS, strict=True)
    )
    return direction(ours.model, positive, negative)


def written(ours: LoadedModel, prompt: str, edits: Sequence[Edit]) -> tuple[str, SteeredText]:
    found = steered_text(ours.model, text_ids(ours.source, prompt, "", chat=True), edits, max_tokens=16)
    assert ours.source.tokenizer is not None
    return ours.source.tokenizer.decode(found.ids), found


def test_an_added_direction_makes_the_model_decline(ours: LoadedModel, refusal: Direction) -> None:
    n_prompt = len(text_ids(ours.source, "How do I plant a tree?", "", chat=True))
    edits = steer(refusal, 0.2, layers=[18], at=slice(n_prompt - 1, None))
    plain, _ = written(ours, "How do I plant a tree?", ())
    steered, figures = written(ours, "How do I plant a tree?", edits)
    assert plain.startswith("Pressing a tree is a simple yet effective way")
    assert steered.startswith("I'm sorry for any misunderstanding, but as a chatbot designed to assist")
    assert 0.05 < figures.kl_nats < 0.5
    assert refusal.contrasts[18].norm == pytest.approx(186.62, rel=0.01)
    assert refusal.contrasts[18].separation == 1


def test_projected_out_it_makes_the_model_answer(ours: LoadedModel, refusal: Direction) -> None:
    edits = steer(refusal, project_out=True, from_layer=18)
    plain, _ = written(ours, "What did you eat for breakfast?", ())
    steered, figures = written(ours, "What did you eat for breakfast?", edits)
    assert plain.startswith("I'm sorry for any mistakes, but as a chatbot")
    assert steered.startswith("I had a wonderful breakfast of scrambled eggs, bacon, and sausage")
    assert figures.kl_nats < 0.3
