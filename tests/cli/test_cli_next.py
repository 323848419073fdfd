"""`archcalc next` and `archcalc demo`: what they print, in both languages, and every refusal in one line."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from archcalc.interp.demos import DEMOS
from tests.cli.conftest import Cli
from tests.run.decoding.chat_model import save_chat_model

Good = Callable[..., str]
RANDOM = ["next", "tiny", "--random-weights", "--set", "n_layers=1"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_chat_model(tmp_path_factory.mktemp("next")))


def test_two_contexts_stand_side_by_side(good: Good, folder: str) -> None:
    call = ("next", folder, "-p", "the cat sat", "-p", "the dog sat", "--top", "3")
    found = json.loads(good(*call, "-f", "json"))
    assert list(found) == ["name", "label", "sampling", "n_vocab", "contexts", "tokens", "distance"]
    assert [one["text"] for one in found["contexts"]] == ["the cat sat", "the dog sat"]
    assert 3 <= len(found["tokens"]) / 2 <= 6
    assert [row["id"] for row in found["tokens"] if row["context"] == "A"] == [
        row["id"] for row in found["tokens"] if row["context"] == "B"
    ]
    assert found["sampling"]["temperature"] == 1, "the model's own, unless told otherwise"
    text = good(*call)
    for row in found["tokens"]:
        assert f"{row['probability']:.4f}" in text or row["probability"] < 1e-4
    distance = found["distance"]
    assert f"KL(A‖B) = {distance['kl_nats']:.4f} nats" in text
    assert f"KL(B‖A) = {distance['reverse_kl_nats']:.4f} nats" in text
    assert f"total variation {distance['total_variation']:.4f}" in text
    assert f"KL(A‖B) = {distance['kl_nats']:.4f} 奈特" in good(*call, "--lang", "zh")
    assert "█" in text


def test_the_next_token_of_generate_is_the_likeliest(good: Good, folder: str) -> None:
    said = json.loads(good("generate", folder, "-p", "the cat", "-n", "1", "-q", "-f", "json", "--ignore-eos"))
    found = json.loads(good("next", folder, "-p", "the cat", "-f", "json"))
    assert found["tokens"][0]["id"] == said["completions"][0]["ids"][0]
    assert found["tokens"][0]["rank"] == 1
    assert len(found["tokens"]) == 10
    assert found["distance"] is None


def test_a_cut_shows_what_it_keeps(good: Good) -> None:
    call = (*RANDOM, "--ids", "1,2,3", "--top-k", "2", "--temperature", "0.5")
    found = json.loads(good(*call, "-f", "json"))
    assert found["contexts"][0]["n_kept"] == 2
    assert found["n_vocab"] == 2048
    text = good(*call)
    assert "drawn with temperature = 0.5, top_k = 2" in text
    assert "model's own" in text
    assert "model's own" not in good(*RANDOM, "--ids", "1,2,3").partition("The next token")[2]
    assert "0" in good(*RANDOM, "--ids", "1", "--temperature", "0")
    rows = list(csv.reader(io.StringIO(good(*call, "-f", "csv"))))
    assert rows[0] == ["context", "text", "id", "probability", "model_probability", "rank", "kind"]
    assert len(rows) == 11


def test_an_encoder_decoder_says_what_its_text_begins_with(good: Good) -> None:
    call = ("next", "t5-small", "--random-weights", "--set", "n_layers=1", "--set", "vocab_size=64", "--ids", "1,2")
    assert len(json.loads(good(*call, "-f", "json"))["tokens"]) == 10


def test_a_plot_has_a_bar_for_each_token_in_each_context(good: Good, folder: str) -> None:
    good("next", folder, "-p", "the cat", "-p", "a dog", "--top", "2", "--plot", "next.html", "--lang", "zh")
    html = Path("next.html").read_text()
    assert "the cat" in html
    assert "下一个词元" in html
    good("next", folder, "-p", "the cat", "--plot", "next.svg")
    assert Path("next.svg").read_text().count("<path") > 10


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([*RANDOM], "--prompt, --ids: neither"),
        ([*RANDOM, "--ids", "1", "--ids", "2", "--ids", "3"], "--ids: found 3; expected 1 or 2"),
        ([*RANDOM, "--ids", "9999"], "found id 9999"),
        ([*RANDOM, "--ids", "1", "--plot", "x.gif"], "--plot: found 'x.gif'"),
        ([*RANDOM, "--ids", "1", "--temperature", "0", "--top-k", "2"], "has no effect at temperature 0"),
        (["next", "gpt3", "-p", "a"], "has no weights"),
        (["next", "bert-base", "--random-weights", "--ids", "1"], "expected a decoder with a head"),
        (["demo", "softmx"], "did you mean 'softmax'"),
        (["demo", "cost", "--seed", "1"], "the demonstration cost is not random"),
        (["demo", "--seed", "1"], "expected with NAME"),
        (["demo", "step", "--lang", "fr"], "'fr' is not one of"),
    ],
)
def test_every_refusal_is_one_line(cli: Cli, args: list[str], said: str) -> None:
    ran = cli(*args)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert said in ran.err


def test_demonstrations_are_listed(good: Good) -> None:
    assert [one["name"] for one in json.loads(good("demo", "-f", "json"))["demos"]] == list(DEMOS)
    assert all(name in good("demo", "--lang", "zh") for name in DEMOS)


def test_a_demonstration_in_every_format(good: Good) -> None:
    assert "softmax(z) = exp(z)" in good("demo", "softmax")
    assert json.loads(good("demo", "softmax", "--seed", "3", "-f", "json"))["seed"] == 3
    assert good("demo", "step", "-f", "html").startswith("<!doctype html>")
    assert "| 词元 |" in good("demo", "step", "-f", "md", "--lang", "zh")
    assert good("demo", "cost", "-f", "csv").splitlines()[1].startswith("128,2751463424,67108864,11274289152,")
