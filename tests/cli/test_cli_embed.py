"""`archcalc embed`: what it prints, in every form and both languages, and every refusal in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Cli

Good = Callable[..., str]
RANDOM = ["embed", "tiny", "--random-weights", "--set", "n_layers=1", "--ids"]
CONTEXTS = ["--contexts", "1,2,3", "4,2", "--token", "2"]
PLANE = ["--project", "1 2", "--project", "3,4"]


def test_neighbors_of_words(good: Good) -> None:
    result = json.loads(good("embed", "tiny", "--near", "king", "--near", "God", "--top", "3", "-f", "json"))
    assert [row["word"] for row in result["neighbors"]] == ["king"] * 3 + ["God"] * 3
    assert [row["rank"] for row in result["neighbors"]] == [1, 2, 3] * 2
    assert result["words"][0]["tokens"] == [" king"]
    assert not {row["id"] for row in result["neighbors"][:3]} & set(result["words"][0]["ids"])
    own = json.loads(good("embed", "tiny", "--near", "king", "--top", "1", "--with-inputs", "-f", "json"))
    (row,) = own["neighbors"]
    assert (row["id"], row["cosine"]) == (result["words"][0]["ids"][0], pytest.approx(1))
    text = good("embed", "tiny", "--near", "king")
    assert "king: ' king'" in text
    assert "own tokens left out" in text
    assert "own tokens included" in good("embed", "tiny", "--near", "king", "--with-inputs")


def test_both_ranks_of_an_analogy(good: Good) -> None:
    call = ("embed", "tiny", "--analogy", "king", "man", "woman", "queen")
    result, text = json.loads(good(*call, "-f", "json")), good(*call)
    assert f"king, man, woman among the candidates: rank {result['rank']:,}" in text
    assert f"without them: rank {result['rank_without_inputs']:,}" in text
    assert f"without them: rank {result['rank_without_inputs']:,}" not in good(*call, "--lang", "zh")
    assert "without them: none, as king is one of them" in good(*call[:-1], "king")


def test_contexts_by_layer(good: Good) -> None:
    result = json.loads(good(*RANDOM, *CONTEXTS, "-f", "json"))
    assert [row["positions"] for row in result["contexts"]] == [[1], [1]]
    assert [row["path"] for row in result["layers"]] == ["layers.0.resid_pre", "layers.0.resid_post"]
    call = ("embed", "tiny", "--contexts", "And God said", "In the name of God", "--token", "God")
    assert json.loads(good(*call, "-f", "json"))["layers"][0]["cosine"] == pytest.approx(1)
    assert "'And God said': positions 1" in good(*call)


def test_an_encoder_decoder_reads_contexts_in_its_encoder(good: Good) -> None:
    call = ("embed", "tiny-seq2seq", "--random-weights", "--ids", *CONTEXTS, "-f", "json")
    assert json.loads(good(*call))["layers"][0]["path"] == "encoder.layers.0.resid_pre"
    assert json.loads(good("embed", "tiny-encoder", *call[2:]))["layers"][-1]["path"].endswith("resid_post")


@pytest.mark.parametrize("mode", [CONTEXTS, PLANE])
def test_a_plot_and_a_page(good: Good, mode: list[str]) -> None:
    good(*RANDOM, *mode, "--plot", "a.svg", "--lang", "zh")
    good(*RANDOM, *mode, "-o", "a.html")
    page = Path("a.html").read_text()
    assert page.startswith("<!doctype html>")
    assert page.count("<svg") == 1
    assert "http" not in page.replace("http://www.w3.org/", "")
    assert Path("a.svg").read_text().count("<path") > 5


def test_a_plane_says_what_it_explains(good: Good) -> None:
    result, text = json.loads(good(*RANDOM, *PLANE, "-f", "json")), good(*RANDOM, *PLANE)
    assert [row["word"] for row in result["points"]] == ["1", "2", "3,4"]
    assert len(result["components"]) == 2
    assert f"{100 * result['components'][0]['share']:.2f} %" in text
    good(*RANDOM, *PLANE, "--plot", "a.svg")
    assert f"component 1: {100 * result['components'][0]['share']:.1f} %" in Path("a.svg").read_text()


@pytest.mark.parametrize("form", ["table", "md", "html", "csv"])
@pytest.mark.parametrize("mode", [["--near", "5"], ["--analogy", "1", "2", "3", "4"], CONTEXTS, PLANE])
def test_chinese(good: Good, mode: list[str], form: str) -> None:
    text = good(*RANDOM, *mode, "-f", form, "--lang", "zh")
    assert any("一" <= char <= "鿿" for char in text) == (form != "csv")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([*RANDOM], "--near, --analogy, --contexts, --project: found none of them"),
        ([*RANDOM, "--near", "1", "--project", "1"], "found --near, --project; allowed: one of them"),
        ([*RANDOM, "--near", "9999"], "found id 9999"),
        ([*RANDOM, "--near", "a"], "--ids: found 'a'"),
        ([*RANDOM, "--near", "1", "--token", "1"], "--token: found with --near; allowed: with --contexts"),
        ([*RANDOM, "--near", "1", "--plot", "a.svg"], "--plot: found with --near"),
        ([*RANDOM, *PLANE, "--top", "3"], "--top: found with --project; allowed: with --near, --analogy"),
        ([*RANDOM, *PLANE, "--plot", "a.gif"], "--plot: found 'a.gif'"),
        ([*RANDOM, *CONTEXTS[:3]], "--token: found none"),
        ([*RANDOM, *CONTEXTS[:4], "7"], "--token: '7' is not among the tokens"),
        ([*RANDOM, "--near", "1", "--table", "head"], "--table: the head has the token table; allowed: input"),
        ([*RANDOM, "--project", "1"], "found 1; allowed: at least 2"),
        (["embed", "happy", "--random-weights", "--near", "king"], "there is no tokenizer; allowed: --ids"),
        (["embed", "gpt3", "--near", "king"], "has no weights"),
    ],
)
def test_every_refusal_is_one_line(cli: Cli, args: list[str], said: str) -> None:
    ran = cli(*args)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert said in ran.err
