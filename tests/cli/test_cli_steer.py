"""`archcalc steer`: its formats, both languages, files of directions, and errors in one line."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from archcalc.inside import load_direction
from tests.cli.conftest import Cli

Good = Callable[..., str]
CONTRAST = ("--positive", "the king", "--negative", "the field")
STEER = ("steer", "tiny", "-p", "And the man", *CONTRAST, "-n", "6")
RANDOM = (
    "steer",
    "tiny",
    "--random-weights",
    "--ids",
    "1,2,3",
    "--positive-ids",
    "4,5",
    "--negative-ids",
    "6",
    "-n",
    "3",
)
PAIR = ("steer", "tiny-seq2seq", *RANDOM[2:])


def steering(good: Good, *call: str) -> Any:
    return json.loads(good(*call, "--format", "json"))


def test_the_page_has_figures_and_texts(good: Good) -> None:
    page = good(*STEER, "--strength", "0.5", "--layers", "2")
    assert "steered: layer 2, by its own direction, from position 2 on; measured" in page
    assert "Plain model\n   of God was with him,\n" in page
    assert "Strength 0.5\n  " in page
    assert "Made of 1 positive and 1 negative prompts (difference of the means; tokens: last)." in page
    assert page.count("✓") == 1


def test_the_plain_model_is_first_and_as_generate_writes(good: Good) -> None:
    result = steering(good, *STEER, "--strength", "1,-1")
    assert [row["strength"] for row in result["texts"]] == [0, 1, -1]
    assert [row["operation"] for row in result["texts"]] == ["plain", "add", "add"]
    plain = result["texts"][0]
    assert (plain["kl_nats"], plain["prompt_kl_nats"]) == (0, 0)
    assert good("generate", "tiny", "-p", "And the man", "-n", "6", "-q") == f"And the man{plain['text']}\n"
    assert all(row["kl_nats"] > 0 for row in result["texts"][1:])
    assert (result["layers"], result["from_token"], result["from_layer"]) == ([2], 2, None)
    assert result["origin"] == {
        "model": "tiny", "method": "mean", "tokens": "last", "positive": ["the king"], "negative": ["the field"],
        "chat": False,
    }  # fmt: skip
    assert [row["is_steered"] for row in result["directions"]] == [False, False, True, False]
    again = steering(good, *STEER, "--strength", "1,0,-1,1")
    assert again["texts"] == [result["texts"][i] for i in (1, 0, 2)]


def test_projecting_out(good: Good) -> None:
    result = steering(good, *STEER, "--project-out", "--layers", "all", "--from-layer", "1")
    assert [(row["operation"], row["strength"]) for row in result["texts"]] == [("plain", 0), ("project out", None)]
    assert (result["layers"], result["from_layer"], result["from_token"]) == ([0, 1, 2, 3], 1, 0)
    assert result["texts"][1]["prompt_kl_nats"] > 0
    assert "steered: layers 0-3, by the direction of layer 1, from position 0 on" in good(
        *STEER, "--project-out", "--layers", "0-1,2-3", "--from-layer", "1"
    )


def test_from_a_token_on(good: Good) -> None:
    early, late, plain = (
        steering(good, *STEER, "--strength", "2", "--from-token", token)["texts"][row]
        for token, row in (("0", 1), ("6", 1), ("6", 0))
    )
    assert early["prompt_kl_nats"] > 0 == late["prompt_kl_nats"]
    assert late["ids"][:4] == plain["ids"][:4] != early["ids"][:4]


def test_a_file_is_the_same_direction(good: Good) -> None:
    fresh = steering(good, *STEER, "--save", "king.safetensors")
    saved = steering(good, *STEER[:4], "-n", "6", "--direction", "king.safetensors")
    assert saved == fresh
    assert load_direction("king.safetensors").origin["positive"] == ["the king"]


def test_a_direction_alone(good: Good) -> None:
    page = good("steer", "tiny", *CONTRAST, "--save", "king.safetensors")
    assert "tiny: a direction" in page
    assert "steered" not in page
    assert "Texts" not in page
    assert steering(good, *STEER[:4], "--direction", "king.safetensors", "-n", "1")["texts"]


def test_another_model_is_named(good: Good) -> None:
    good("steer", "tiny", *CONTRAST, "--save", "king.safetensors")
    path = Path("king.safetensors")
    path.write_bytes(path.read_bytes().replace(rb"\"tiny\"", rb"\"tony\""))
    assert "It was made with another model, 'tony'." in good(*STEER[:4], "-n", "1", "--direction", str(path))


def test_pairs_of_a_file(good: Good) -> None:
    Path("pairs.tsv").write_text("the king\tthe field\n\nthe son\tthe sea\n", encoding="utf-8")
    result = steering(good, *STEER[:4], "-n", "1", "--pairs", "pairs.tsv", "--positive", "a god", "--negative", "a man")
    assert result["origin"]["positive"] == ["a god", "the king", "the son"]
    assert result["origin"]["negative"] == ["a man", "the field", "the sea"]
    pca = steering(good, *STEER[:4], "-n", "1", "--pairs", "pairs.tsv", "--method", "pca", "--tokens", "all")
    assert (pca["origin"]["method"], pca["origin"]["tokens"]) == ("pca", "all")
    assert "first principal component" in good(*STEER[:4], "-n", "1", "--pairs", "pairs.tsv", "--method", "pca")


def test_chat_prompts_are_messages(good: Good, chat_folder: str) -> None:
    call = ("steer", chat_folder, "--positive", "yes", "--negative", "no", "-n", "2")
    plain, chat = (steering(good, *call, "-p", "hi", *extra) for extra in ([], ["--chat"]))
    assert len(chat["prompt_ids"]) > len(plain["prompt_ids"])
    assert (chat["origin"]["chat"], chat["prompt"]) == (True, "hi")


@pytest.fixture
def chat_folder(tmp_path: Path) -> str:
    from tests.run.decoding.chat_model import save_chat_model

    save_chat_model(tmp_path / "chat")
    return "./chat"


@pytest.mark.parametrize("stack", [[], ["--stack", "encoder"], ["--stack", "decoder"]])
def test_encoder_decoders(good: Good, stack: list[str]) -> None:
    result = steering(good, *PAIR, *stack, "--strength", "2", "--layers", "all")
    assert result["stack"] == (stack or ["", "decoder"])[1]
    assert result["from_token"] == 0
    plain, steered = result["texts"]
    assert steered["kl_nats"] > plain["kl_nats"] == 0
    assert steered["prompt_kl_nats"] is plain["prompt_kl_nats"] is None
    assert f"steered: {result['stack']}.layers" in good(*PAIR, *stack, "--layers", "all")


def test_csv_has_the_texts(good: Good) -> None:
    rows = list(csv.DictReader(io.StringIO(good(*STEER, "--strength", "0.5", "-f", "csv"))))
    assert [row["strength"] for row in rows[:2]] == ["0.0", "0.5"]
    assert rows[0]["text"] == " of God was with him,"


def test_html_and_plots(good: Good) -> None:
    good(*STEER, "--plot", "a.svg", "-o", "a.html")
    assert "Strength 0.25" in Path("a.html").read_text(encoding="utf-8")
    svg = Path("a.svg").read_text(encoding="utf-8")
    assert "tiny: steered texts" in svg
    assert "perplexity under the plain model" in svg
    good(*STEER, "--project-out", "--plot", "b.svg")
    assert "Direction projected out" in Path("b.svg").read_text(encoding="utf-8")


def test_another_dtype(good: Good) -> None:
    result = steering(good, *STEER, "--dtype", "bf16", "--strength", "0.5", "--save", "king.safetensors")
    assert [row["n_tokens"] for row in result["texts"]] == [6, 6]
    assert load_direction("king.safetensors").vectors[2].dtype == torch.float32


def test_chinese(good: Good) -> None:
    page = good(*STEER, "--lang", "zh")
    assert "困惑度" in page
    assert "Strength" not in page
    assert "投影" in good(*STEER, "--project-out", "--lang", "zh")


def test_ids_without_a_tokenizer(good: Good) -> None:
    page = good(
        "steer", "happy", "--random-weights", "--ids", "0,1", "--positive-ids", "0", "--negative-ids", "1", "-n", "1"
    )
    assert "Plain model\n  " in page
    assert "Prompt" not in page


ERRORS = {
    ("steer", "tiny", "-p", "a"): "--positive, --direction: neither; expected one of them",
    ("steer", "tiny", "-p", "a", "--positive", "b"): "--negative: found none",
    ("steer", "tiny", *CONTRAST): "--prompt, --ids: neither; expected one of them, or --save",
    ("steer", "tiny", "--ids", "1", *STEER[2:]): "--prompt, --ids: both",
    ("steer", "tiny", *CONTRAST, "--save", "a.safetensors", "--plot", "a.svg"): "--plot: found without a prompt",
    (*STEER, "--direction", "a.safetensors"): "--positive, --direction: both",
    (*STEER[:4], "--direction", "no.safetensors"): "no.safetensors: cannot be read",
    (*STEER[:4], "--pairs", "no.tsv"): "no.tsv: cannot be read",
    (*STEER, "--layers", "3-9"): "--layers: found 4; expected 0-3",
    (*STEER, "--layers", "3-1"): "--layers: found '3-1'; expected a range that ascends",
    (*STEER, "--layers", "x"): "--layers: found 'x'; expected layers and ranges",
    (*STEER, "--from-layer", "4"): "--from-layer: found 4; expected 0-3",
    (*STEER, "--strength", "much"): "--strength: found 'much'",
    (*STEER, "--strength", "nan"): "--strength: found nan",
    (*STEER, "--strength", "1", "--project-out"): "--strength, --project-out: both",
    (*STEER, "--from-token", "8"): "--from-token: found 8; expected 0 to 7",
    (*STEER, "--tokens", "first"): "--tokens: found 'first'; expected last, all, or M:N",
    (*STEER, "--tokens", "3:"): "--positive: has 3 tokens; expected more, for these --tokens",
    (*STEER, "--positive", "b", "--method", "pca"): "--positive, --negative: found 2 and 1 prompts",
    (*STEER, "--stack", "decoder"): "--stack: found for a model with one stack",
    (*STEER, "--chat"): "the tokenizer has no chat template",
    (*STEER, "--quantize", "int8"): "--quantize: found",
    (*STEER[:4], "--positive", "b", "--negative", "b"): "--positive, --negative: they give the same states",
    (*RANDOM, "--positive-ids", "x"): "--ids: found 'x'",
    (*RANDOM, "--negative-ids", "99999"): "--negative 2: found id 99999",
    (*PAIR, "--from-token", "3"): "--from-token: found 3; expected 0 to 2",
    (*PAIR, "--stack", "encoder", "--from-token", "3"): "--from-token: found 3; expected 0 to 2",
    ("steer", "tiny-encoder", *RANDOM[2:]): "it does not predict the next token",
    (*RANDOM, "--set", "n_ctx=3"): "--prompt: has 3 tokens",
}


@pytest.mark.parametrize("call", ERRORS, ids=lambda call: " ".join(call[-2:]))
def test_errors(cli: Cli, call: tuple[str, ...]) -> None:
    found = cli(*call)
    assert (found.code, found.out) == (2, "")
    assert found.err.startswith(f"archcalc: {ERRORS[call]}")
    assert found.err.count("\n") == 1


def test_another_width_is_refused_before_weights_are_loaded(cli: Cli, good: Good) -> None:
    good("steer", "tiny", *CONTRAST, "--save", "king.safetensors")
    found = cli("steer", "happy", "--ids", "0", "--direction", "king.safetensors")
    assert found.err == (
        "archcalc: king.safetensors: direction: found vectors of width 192; expected 3, the model's d_model\n"
    )
    pca = cli(*STEER[:4], "--direction", "king.safetensors", "--method", "pca")
    assert pca.err.startswith("archcalc: --method: found with a direction that is made")
    wrong = cli(*STEER[:4], "--direction", "king.safetensors", "--stack", "encoder")
    assert wrong.err.startswith("archcalc: --stack: found 'encoder'")


@pytest.mark.parametrize("text", ["the king", "a\tb\tc", "\tb", "a\t"])
def test_broken_pairs(cli: Cli, text: str) -> None:
    Path("pairs.tsv").write_text(f"a\tb\n{text}\n", encoding="utf-8")
    found = cli(*STEER[:4], "--pairs", "pairs.tsv")
    assert found.err.startswith("archcalc: pairs.tsv: line 2: found")
