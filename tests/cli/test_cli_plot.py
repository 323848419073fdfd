"""`archcalc flops --plot`: the file, the words and the numbers that go with it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Cli

Good = Callable[..., str]


def test_a_plot_is_written_and_told(good: Good, tmp_path: Path) -> None:
    text = good("flops", "llama-3-8b", "--plot", "a.png")
    assert "attention overtakes the FFN at 16,385 tokens: every key held" in text
    assert "attention overtakes the FFN at 32,768 tokens: causal, attended pairs only" in text
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_its_numbers_are_those_of_a_workload(good: Good) -> None:
    found = json.loads(good("flops", "gpt2", "--plot", "a.svg", "--phase", "decode", "--up-to", "700", "-f", "json"))
    assert (found["crossing"], found["crossing_causal"]) == (None, None)
    text = good("flops", "gpt2", "--plot", "a.svg", "--phase", "decode", "--up-to", "700")
    assert "attention never overtakes the FFN within 700 tokens" in text
    last = found["points"][-1]
    told = json.loads(good("flops", "gpt2", "--seq", "1", "--past", "699", "-f", "json"))
    assert (last["tokens"], last["new_tokens"]) == (700, 1)
    assert sum(last["forward"].values()) == last["total"] == told["forward"]
    (ffn,) = (row for row in told["components"] if row["component"] == "ffn")
    assert last["forward"]["ffn"] == ffn["forward"]
    header, *rows = good("flops", "gpt2", "--plot", "a.svg", "-f", "csv").splitlines()
    assert header.startswith(
        "tokens,new_tokens,forward.attention_projections,forward.attention_pairs,forward.ffn,forward.head,"
    )
    assert [row.split(",")[0] for row in rows] == ["128", "256", "512", "1024"]


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (["gpt3", "--plot", "a.jpg"], "--plot: found 'a.jpg'; expected a name that ends in .html, .png or .svg"),
        (["gpt3", "--plot", "a.png", "--up-to", "4096"], "--up-to: found 4096; expected from 1 to 2,048"),
        (["bert-base", "--plot", "a.png", "--phase", "decode"], "--phase: an encoder caches nothing; expected prefill"),
        (["gpt3", "--plot", "a.png", "--seq", "7"], "--seq: a plot runs over context lengths"),
        (["gpt3", "--plot", "a.png", "--conventions"], "--conventions: a plot runs over context lengths"),
        (["gpt3", "--phase", "decode"], "--phase: there is no plot; expected with --plot FILE"),
        (["gpt3", "--up-to", "9"], "--up-to: there is no plot; expected with --plot FILE"),
        (["gpt3", "--plot", "none/a.png"], "none/a.png: cannot be written (No such file or directory)"),
    ],
)
def test_what_cannot_be(call: list[str], told: str, cli: Cli, tmp_path: Path) -> None:
    found = cli("flops", *call)
    assert (found.code, found.out, found.err.count("\n")) == (2, "", 1)
    assert told in found.err
    assert list(tmp_path.iterdir()) == []


def test_nothing_half_written(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "a.png").write_bytes(b"old")
    monkeypatch.setattr(os, "replace", full)
    assert (
        cli("flops", "tiny", "--plot", "a.png").err == "archcalc: a.png: cannot be written (No space left on device)\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert (tmp_path / "a.png").read_bytes() == b"old"


def test_without_the_extra(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("archcalc.extras.find_spec", lambda name: None)
    found = cli("flops", "tiny", "--plot", "a.png")
    assert (found.code, found.out) == (2, "")
    assert found.err == "archcalc: drawing a plot needs the extra 'plot': pip install 'archcalc[plot]'\n"
    assert list(tmp_path.iterdir()) == []
