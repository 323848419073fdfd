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


def test_tokens_near_a_direction(good: Good, cli: Cli) -> None:
    result = json.loads(good("embed", "tiny", "--difference", "king", "man", "--top", "4", "-f", "json"))
    assert (result["direction"], [row["word"] for row in result["words"]]) == ("king − man", ["king", "man"])
    assert not {row["id"] for row in result["neighbors"]} & {row["ids"][0] for row in result["words"]}
    own = json.loads(good("embed", "tiny", "--difference", "king", "man", "--with-inputs", "--top", "1", "-f", "json"))
    assert own["neighbors"][0]["id"] == own["words"][0]["ids"][0]
    assert "tokens nearest to the direction king − man" in good("embed", "tiny", "--difference", "king", "man")
    good("steer", "tiny", "--positive", "the king", "--negative", "the field", "--save", "d.safetensors")
    call = ("embed", "tiny", "--direction", "d.safetensors", "--top", "2")
    middle = json.loads(good(*call, "-f", "json"))
    assert {row["word"] for row in middle["neighbors"]} == {"layers.2.resid_post"}
    every = json.loads(good(*call, "--layers", "all", "-f", "json"))
    assert [row["word"] for row in every["words"]] == [f"layers.{i}.resid_post" for i in range(4)]
    of_middle = [row["id"] for row in every["neighbors"] if row["word"] == "layers.2.resid_post"]
    assert of_middle == [row["id"] for row in middle["neighbors"]]
    assert json.loads(good(*call, "--layers", "0-3", "-f", "json")) == every
    assert [row["norm"] for row in every["words"]] == pytest.approx([1.0] * 4)
    text = good(*call)
    assert "tokens nearest to the direction d.safetensors" in text
    assert "of the residual stream" in text
    for layers, said in (("9", "--layers: found 9; expected 0-3"), ("x", "--layers: found 'x'; expected layers and")):
        ran = cli(*call, "--layers", layers)
        assert (ran.code, ran.err.count("\n")) == (2, 1)
        assert said in ran.err
    other = cli("embed", "tiny", "--random-weights", "--set", "d_model=96", *call[2:])
    assert "found vectors of width 192; expected 96" in other.err


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
        ([*RANDOM], "--near, --analogy, --difference, --direction, --contexts, --project: found none of them"),
        ([*RANDOM, "--near", "1", "--project", "1"], "found --near, --project; expected one of them"),
        ([*RANDOM, "--near", "9999"], "found id 9999"),
        ([*RANDOM, "--near", "a"], "--ids: found 'a'"),
        ([*RANDOM, "--near", "1", "--token", "1"], "--token: found with --near; expected with --contexts"),
        ([*RANDOM, "--near", "1", "--plot", "a.svg"], "--plot: found with --near"),
        ([*RANDOM, *PLANE, "--top", "3"], "--top: found with --project; expected with --near, --analogy"),
        ([*RANDOM, *PLANE, "--plot", "a.gif"], "--plot: found 'a.gif'"),
        ([*RANDOM, *CONTEXTS[:3]], "--token: found none"),
        ([*RANDOM, *CONTEXTS[:4], "7"], "--token: '7' is not among the tokens"),
        ([*RANDOM, "--near", "1", "--table", "head"], "--table: the head has the token table; expected input"),
        ([*RANDOM, "--project", "1"], "found 1; expected at least 2"),
        ([*RANDOM, "--difference", "1", "1"], "found one word twice; expected two words"),
        (
            [*RANDOM, "--difference", "1", "2", "--layers", "1"],
            "--layers: found with --difference",
        ),
        (["embed", "tiny", "--direction", "none.safetensors"], "none.safetensors: cannot be read"),
        ([*RANDOM, "--direction", "none.safetensors"], "--ids: found with --direction; expected with --near"),
        (["embed", "happy", "--random-weights", "--near", "king"], "there is no tokenizer; expected --ids"),
        (["embed", "gpt3", "--near", "king"], "has no weights"),
    ],
)
def test_every_refusal_is_one_line(cli: Cli, args: list[str], said: str) -> None:
    ran = cli(*args)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert said in ran.err
