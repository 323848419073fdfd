"""`archcalc patchscope`: its formats, both languages, and errors in one line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Cli

Good = Callable[..., str]
KING = ("patchscope", "tiny", "--prompt", "And the king", "-n", "3")
RANDOM = ("patchscope", "tiny", "--random-weights", "--ids", "1,2,3")


def test_every_layer_goes_into_the_same_layer(good: Good) -> None:
    found = json.loads(good(*KING, "-f", "json"))
    assert [(row["layer"], row["target_layer"]) for row in found["texts"]] == [(layer, layer) for layer in range(5)]
    assert found["prompt"].endswith("x ->")
    assert found["plain"]["layer"] == -1
    text = good(*KING)
    assert f"{found['texts'][2]['probability']:.4f}" in text
    assert "P(answer)" not in text
    assert "Without a patch:" in text


def test_the_grid(good: Good, tmp_path: Path) -> None:
    call = (*KING, "--into", "the x of", "--grid", "--answer", " LORD")
    found = json.loads(good(*call, "-f", "json"))
    assert len(found["texts"]) == 25
    best = max(row["answer_probability"] for row in found["texts"])
    listed = [line for line in good(*call, "--top", "2").splitlines() if re.match(r" +\d +\d  ", line)]
    assert len(listed) == 2
    assert f"{best:.4f}" in listed[0] or f"{best:.1e}" in listed[0]
    good(*call, "-o", "grid.html", "--plot", "grid.svg")
    page = (tmp_path / "grid.html").read_text(encoding="utf-8")
    data = re.search(r"const grids = (\[.*?\]), texts = ", page)
    assert data is not None
    (grid,) = json.loads(data[1])
    assert list(grid["values"]) == ["answer_probability", "probability"]
    assert grid["texts"][2][3] == next(
        row["text"] for row in found["texts"] if (row["layer"], row["target_layer"]) == (2, 3)
    )
    assert "source layer" in (tmp_path / "grid.svg").read_text(encoding="utf-8")


def test_several_words_fill_several_placeholders(good: Good) -> None:
    call = ("patchscope", "tiny", "-p", "And the king", "--words", "the king", "--into", "see x and", "--layer", "1")
    tokens = json.loads(good(*call, "-f", "json"))["tokens"]
    assert [row["token"] for row in tokens] == [" the", " king"]
    assert tokens[1]["target_position"] == tokens[0]["target_position"] + 1
    positions = json.loads(good(*RANDOM, "--position", "0", "--position", "2", "-f", "json"))["tokens"]
    assert [row["position"] for row in positions] == [0, 2]


@pytest.mark.parametrize("scope", ["identity", "description", "few-shot"])
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_built_in_prompts(good: Good, scope: str, lang: str) -> None:
    call = (*KING, "--scope", scope, "--scope-lang", lang, "--layer", "1", "--target-layer", "0")
    one, other = (json.loads(good(*call, cache, "-f", "json")) for cache in ("--cache", "--no-cache"))
    assert ("king" in one["prompt"]) is False
    assert [row["ids"] for row in one["texts"]] == [row["ids"] for row in other["texts"]]


def test_chinese(good: Good) -> None:
    text = good(*KING, "--lang", "zh")
    assert "源层" in text
    assert "Generated" not in text


@pytest.mark.parametrize("form", ["csv", "md"])
def test_other_formats(good: Good, form: str) -> None:
    assert good(*KING, "-f", form).count("\n") > 5


ERRORS = {
    (*KING, "--into", "an ox"): "--into: 'an ox' has no 'x'",
    (*KING, "--words", "queen"): "--words: found 'queen'",
    (*RANDOM, "--words", "king"): "--words: found with positions or ids",
    (*KING, "--layer", "9"): "--layer: found 9",
    (*KING, "--position", "9"): "--position: found 9",
    (*KING, "--into-ids", "1,2"): "--into-position: has no positions",
    (*KING, "--answer", "two words"): "--answer: 'two words' is ",
    ("patchscope", "tiny-encoder", "--random-weights", "--ids", "1,2"): "it does not predict the next token",
}


@pytest.mark.parametrize("call", ERRORS)
def test_errors_are_one_line(cli: Cli, call: tuple[str, ...]) -> None:
    found = cli(*call)
    assert (found.code, found.out, found.err.count("\n")) == (2, "", 1)
    assert found.err.startswith(f"archcalc: {ERRORS[call]}")
