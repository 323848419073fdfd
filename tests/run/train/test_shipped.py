"""The weights that come with archcalc are as good as their card says, and write."""

from __future__ import annotations

import lzma
from pathlib import Path
from typing import Any

import pytest
import yaml

from archcalc import generate, presets, report
from archcalc.run.loading.source import open_source
from archcalc.run.train.batches import NextTokens
from archcalc.run.train.loop import validate
from archcalc.run.train.settings import Settings

HELD_OUT = Path(__file__).parent / "kjv_held_out.txt.xz"


@pytest.fixture(scope="module")
def card() -> dict[str, Any]:
    folder = presets.weights_path("tiny")
    assert folder is not None
    found: dict[str, Any] = yaml.safe_load((Path(folder) / "card.yaml").read_text())
    return found


def test_the_held_out_loss_is_what_the_card_says(card: dict[str, Any]) -> None:
    found, text = open_source("tiny"), lzma.decompress(HELD_OUT.read_bytes()).decode()
    assert found.tokenizer is not None
    assert found.checkpoint is not None
    ids = found.tokenizer.encode(text, special=False)
    said = card["held_out"]
    assert (len(ids), len(text)) == (said["tokens"], said["characters"])
    n_characters = len(text) - len(found.tokenizer.decode(ids[:1]))
    batches = NextTokens(Settings(steps=1, batch=16, seq=256, warmup=0), [0] * 300, ids, n_characters)
    model = open_source("tiny").checkpoint.load(dtype=None)
    measured = validate(model.float(), batches.validation(), batches.n_characters)
    assert measured.nats == pytest.approx(said["nats_per_token"], abs=1e-3)
    assert measured.nats_per_character == pytest.approx(said["nats_per_character"], abs=1e-3)
    assert measured.accuracy == pytest.approx(said["right"], abs=1e-3)


def test_flops_and_tokens_are_those_of_its_steps(card: dict[str, Any]) -> None:
    told = card["trained"]
    assert told["tokens"] == 2400 * 16 * 256
    found = open_source("tiny")
    assert told["flops"] == 2400 * report(found.spec, batch=16, seq=256)["flops"]["train_step"]


def test_it_writes_words() -> None:
    made = generate("tiny", "In the beginning", max_tokens=24, temperature=0.8, top_p=0.9)
    words = lzma.decompress(HELD_OUT.read_bytes()).decode().lower().split()
    known = {word.strip(".,;:?!") for word in words}
    written = [word.strip(".,;:?!").lower() for word in made.text.split()[:-1]]
    assert len(written) > 10
    assert sum(word in known for word in written) / len(written) > 0.7, made.text
