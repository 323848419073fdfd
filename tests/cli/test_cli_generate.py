"""`archcalc generate` and `archcalc chat`: what they print, and every refusal in one line."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import torch

from tests.checkpoint.random_models import random_model
from tests.cli.conftest import Cli
from tests.run.decoding.chat_model import save_chat_model

TINY = ["generate", "tiny", "--random-weights", "--set", "n_layers=1", "-n", "5", "-q"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_chat_model(tmp_path_factory.mktemp("talker")))


def test_ids_in_ids_out(cli: Cli) -> None:
    ran = cli(*TINY, "--ids", "1,2,3")
    assert ran.code == 0
    assert ran.err == ""
    assert ran.out.startswith("1 2 3 ")
    assert len(ran.out.split()) == 3 + 5
    assert cli(*TINY, "--ids", "1,2,3").out == ran.out, "the same weights, the same text"
    drawn = [cli(*TINY, "--ids", "1,2,3", "--temperature", "1", "--seed", seed).out for seed in "011"]
    assert drawn[0] != drawn[1] == drawn[2]


def test_json_has_everything(cli: Cli, folder: str) -> None:
    ran = cli("generate", folder, "-p", "the cat", "-p", "a", "-n", "6", "--ignore-eos", "-f", "json", "-q")
    data = json.loads(ran.out)
    assert [each["prompt"] for each in data["completions"]] == ["the cat", "a"]
    assert [len(each["ids"]) for each in data["completions"]] == [6, 6]
    assert {each["ended"] for each in data["completions"]} == {"length"}
    assert data["timing"]["n_decoded"] == 2 * 5


def test_a_batch_prints_each_text_after_its_prompt_as_alone(cli: Cli, folder: str) -> None:
    both = cli("generate", folder, "-p", "the cat", "-p", "on", "-n", "6", "-q").out
    alone = [cli("generate", folder, "-p", prompt, "-n", "6", "-q").out for prompt in ("the cat", "on")]
    assert both == alone[0].rstrip("\n") + "\n\n" + alone[1]


def test_a_file_is_written_whole(cli: Cli, folder: str) -> None:
    printed = cli("generate", folder, "-p", "the cat", "-n", "6", "-q")
    written = cli("generate", folder, "-p", "the cat", "-n", "6", "-q", "-o", "out.txt")
    assert written.out == ""
    assert Path("out.txt").read_text() == printed.out


def test_speed_is_told_beside_the_text(cli: Cli, folder: str) -> None:
    ran = cli("generate", folder, "-p", "the cat", "-n", "6", "--ignore-eos")
    assert ran.err.startswith("measured: ")
    assert "tokens/s" in ran.err


@pytest.mark.parametrize("quantize", ["int8", "int4"])
def test_quantized(cli: Cli, folder: str, quantize: str) -> None:
    assert cli("generate", folder, "-p", "the cat", "-n", "3", "-q", "--quantize", quantize).code == 0


BAD = {
    "a preset has no weights": (["generate", "gpt2", "-p", "x"], "gpt2: has no weights"),
    "no prompt": (["generate", "tiny", "--random-weights"], "--prompt, --ids: neither"),
    "two kinds of prompt": (["generate", "tiny", "--random-weights", "-p", "x", "--ids", "1"], "--prompt, --ids: both"),
    "ids that are none": ([*TINY, "--ids", "1,x"], "--ids: found '1,x'"),
    "an id too large": ([*TINY, "--ids", "99999"], "prompt: found id 99999; expected 0 to 2,047"),
    "an empty prompt": ([*TINY, "--ids", ","], "prompt: has no tokens"),
    "a prompt too long": ([*TINY, "--ids", ",".join("1" * 300)], "prompt: has 300 tokens; expected fewer than"),
    "a cut without effect": ([*TINY, "--ids", "1", "--temperature", "0", "--top-k", "3"], "--top-k: has no effect"),
    "beams that draw": (
        [*TINY, "--ids", "1", "--beams", "2", "--temperature", "1"],
        "beams: beam search does not sample",
    ),
    "an unknown device": ([*TINY, "--ids", "1", "--device", "abacus"], "device: found 'abacus'"),
    "another device": ([*TINY, "--ids", "1", "--device", "meta"], "device: found meta"),
    "no such folder": (["generate", "./nowhere", "-p", "x"], "./nowhere: no such file"),
    "a pickle": (["generate", "./pytorch_model.bin", "-p", "x"], "./pytorch_model.bin: a pickle can run code"),
    "a folder of pickles": (["generate", "./pickled", "-p", "x"], "pickle"),
    "too large": (
        ["generate", "gpt3-175b", "--random-weights", "--ids", "1"],
        "gpt3-175b needs 698.4 GB (650.5 GiB) of weights in fp32 and",
    ),
    "an encoder": (["generate", "bert-base", "--random-weights", "--ids", "1"], "expected a decoder with a head"),
    "no template": (["chat", "tiny", "--random-weights", "-p", "x"], "no chat template"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_is_told_in_one_line(cli: Cli, case: str) -> None:
    Path("pytorch_model.bin").write_bytes(b"\x80\x02")
    Path("pickled").mkdir()
    Path("pickled/pytorch_model.bin").write_bytes(b"\x80\x02")
    Path("pickled/config.json").write_text(json.dumps({"model_type": "gpt2"}))
    args, told = BAD[case]
    ran = cli(*args)
    assert ran.code == 2
    assert ran.out == ""
    assert told in ran.err
    assert len(ran.err.splitlines()) == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(cli: Cli) -> None:
    ran = cli(*TINY, "--ids", "1", "--device", "cuda")
    assert (ran.code, len(ran.err.splitlines())) == (2, 1)
    assert "found cuda, which is not here" in ran.err


def test_settings_are_for_random_weights(cli: Cli, folder: str) -> None:
    ran = cli("generate", folder, "-p", "x", "--set", "n_layers=1")
    assert ran.code == 2
    assert "--set" in ran.err


def test_turns_of_a_chat(cli: Cli, folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ["chat", folder, "-n", "5", "--context", "120", "-q"]
    asked = cli(*options, "-p", "the cat", "-p", "the dog")
    assert asked.code == 0
    monkeypatch.setattr("sys.stdin", io.StringIO("the cat\nthe dog\n/reset\nthe cat\n"))
    typed = cli(*options)
    assert typed.code == 0
    assert typed.out.startswith(asked.out)
    first, again = asked.out, typed.out[len(asked.out) :]
    assert first.startswith(again), "after a reset, as at the beginning"


def test_a_chat_that_grows_too_long_says_so_and_goes_on(cli: Cli, folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("the cat sat on the mat " * 9 + "\n/reset\na\n"))
    ran = cli("chat", folder, "-n", "5", "--context", "40", "-q")
    assert ran.code == 0
    assert "conversation: " in ran.err
    assert "/reset begins anew" in ran.err
    assert ran.out.strip()


def test_beams_of_an_encoder_decoder(cli: Cli, tmp_path: Path) -> None:
    model = random_model("t5", decoder_start_token_id=0)
    model.generation_config.decoder_start_token_id, model.generation_config.eos_token_id = 0, None
    model.save_pretrained(tmp_path / "t5")
    ids = [5, 9, 20, 1]
    ran = cli("generate", "./t5", "--ids", ",".join(map(str, ids)), "--beams", "3", "-n", "6", "-q")
    expected = model.generate(torch.tensor([ids]), num_beams=3, max_new_tokens=6, do_sample=False)
    assert ran.code == 0
    assert ran.out.split() == [*map(str, ids), *map(str, expected[0, 1:].tolist())]


def test_a_text_outside_the_vocabulary_is_one_line(cli: Cli) -> None:
    found = cli("generate", "happy", "--prompt", "sad")
    assert found.code == 2
    assert "'sad' has no tokens in the vocabulary" in found.err
    assert found.err.count("\n") == 1
