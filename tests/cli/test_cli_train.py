"""`archcalc train`: what it prints and leaves behind, and that it may be killed."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from archcalc import generate, load, report
from tests.run.train.small_specs import TEXT

SMALL = {"n_layers": 1, "d_model": 16, "n_heads": 2, "n_kv_heads": 1, "d_head": 8, "d_ff": 24}
HOW = ["--text", "text.txt", "--tokenizer", "char", "--seq", "16", "--batch", "2", "--quiet"]
HOW += [f"--set={field}={value}" for field, value in SMALL.items()]


@pytest.fixture(autouse=True)
def _text(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(TEXT)


def test_figures_and_what_is_left_behind(good: Callable[..., str], tmp_path: Path) -> None:
    found = json.loads(good("train", "tiny", *HOW, "--steps", "5", "--every", "2", "--plot", "loss.svg", "-f", "json"))
    spec = load(str(tmp_path / "runs/tiny/step-00000005"))
    assert (found["steps"], found["tokens"]) == (5, 5 * 32)
    assert found["flops"] == 5 * report(spec, batch=2, seq=16)["flops"]["train_step"]
    rows = [line.split(",") for line in (tmp_path / "runs/tiny/loss.csv").read_text().splitlines()]
    assert [row[0] for row in rows] == ["step", "1", "2", "3", "4", "5"]
    assert float(rows[5][1]) == found["loss"]
    assert [bool(row[2]) for row in rows[1:]] == [False, True, False, True, True]
    assert float(rows[5][2]) == found["validations"][-1]["nats"]
    assert [(one["step"], one["loss"]) for one in found["validations"]] == [
        (step, float(rows[step][1])) for step in (2, 4, 5)
    ]
    table = good("train", "tiny", *HOW, "--steps", "5", "--every", "2", "--resume", "-f", "csv")
    assert list(csv.DictReader(io.StringIO(table))) == [
        {name: str(value) for name, value in one.items()} for one in found["validations"]
    ]
    assert {one["kind"] for one in found["validations"]} == {"measured"}
    assert (tmp_path / "loss.svg").read_text().startswith("<svg")
    made = generate(str(tmp_path / found["checkpoint"]), "the cat", max_tokens=5)
    assert len(made.text) == len(made.ids) == 5, "a character is a token"


def test_a_process_killed_at_any_moment_goes_on(good: Callable[..., str], tmp_path: Path) -> None:
    told = ["train", "tiny", *HOW, "--steps", "300", "--every", "10"]
    env = {name: value for name, value in os.environ.items() if name != "COLUMNS"} | {"OMP_NUM_THREADS": "1"}
    run = [sys.executable, "-m", "archcalc", *told, "--out", "killed"]
    with subprocess.Popen(run, cwd=tmp_path, env=env, stderr=subprocess.DEVNULL) as process:  # noqa: S603
        while not (tmp_path / "killed/step-00000010").exists() and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    good(*told, "--out", "killed", "--resume", "--threads", "1")
    good(*told, "--out", "whole", "--threads", "1")
    for name in ("model.safetensors", "optimizer.safetensors"):
        killed, whole = (tmp_path / run / "step-00000300" / name for run in ("killed", "whole"))
        assert killed.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize(
    ("told", "says"),
    [
        (["tiny"], "--text, --task: neither; expected one of them"),
        (["tiny", "--text", "text.txt", "--task", "copy"], "--text, --task: both"),
        (["tiny", "--text", "nowhere.txt"], "nowhere.txt: cannot be read (No such file or directory)"),
        (["tiny", "--task", "copy"], "--task: is for an encoder-decoder"),
        (["t5-small", "--text", "text.txt"], "t5-small: it is not trained on a text"),
        (["tiny", "--text", "text.txt", "--seq", "999"], "--seq: found 999; expected up to the context's 256"),
        (["tiny", "--text", "text.txt", "--lr", "-1"], "lr: found -1.0; expected above 0"),
        (["tiny", *HOW, "--resume"], "runs/tiny: holds no run to resume"),
        (["tiny", *HOW, "--device", "cuda:9"], "device: found cuda:9, which is not here"),
        (["gpt3", "--text", "text.txt", "--tokenizer", "char"], "gpt3-175b needs about "),
    ],
)
def test_what_cannot_be_is_one_line(told: list[str], says: str, cli: Callable[..., Any], tmp_path: Path) -> None:
    found = cli("train", *told)
    assert (found.code, found.err.count("\n")) == (2, 1)
    assert says in found.err
    assert [path.name for path in tmp_path.iterdir()] == ["text.txt"], "nothing is left behind"
