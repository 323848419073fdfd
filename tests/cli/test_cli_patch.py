"""`archcalc patch`: its formats, both languages, and errors in one line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Cli

Good = Callable[..., str]
PAIR = ("patch", "tiny", "--prompt", "And the king", "--corrupted", "And the LORD")
RANDOM = ("patch", "tiny", "--random-weights", "--ids", "1,2,3")


def test_the_table_has_maps_and_the_error_of_the_estimates(good: Good) -> None:
    text = good(*PAIR, "--top", "2")
    assert "probability of the answer (' said'), measured" in text
    assert re.search(r"0\.resid_pre +0\.00 +0\.00 +1\.00 +1\.00\n", text)
    assert re.search(r"residual stream +15 +0\.\d{4} +0\.\d{4} +layers\.0\.resid_pre", text)
    assert text.count("␣king") == 2 + 3 + 1, "two of the largest effects, a heading of each map, the input"
    assert "P(wrong)" not in text


def test_json_has_the_figures_of_the_table(good: Good) -> None:
    found = json.loads(good(*PAIR, "--component", "ffn", "--wrong", " spake", "-f", "json"))
    assert (found["metric"], found["answer"], found["wrong"]) == ("logit difference", " said", " spake")
    clean, corrupted = found["runs"]
    assert [run["run"] for run in found["runs"]] == ["clean", "corrupted"]
    assert clean["rank"] == 1
    assert clean["value"] > corrupted["value"]
    assert {row["component"] for row in found["effects"]} == {"ffn"}
    assert len(found["effects"]) == 4 * (3 + 1)
    for row in found["effects"]:
        effect = (row["value"] - corrupted["value"]) / (clean["value"] - corrupted["value"])
        assert row["effect"] == pytest.approx(effect, abs=1e-4)
        assert (row["position"] is None) == (row["token"] == "")
    (error,) = found["errors"]
    at = [row for row in found["effects"] if (row["path"], row["position"]) == (error["path"], error["position"])]
    assert abs(at[0]["effect"] - at[0]["estimate"]) == pytest.approx(error["largest_difference"])
    assert error["n"] == 12


def test_one_method_alone(good: Good) -> None:
    estimated = json.loads(good(*PAIR, "--method", "attribution", "-f", "json"))
    exact = json.loads(good(*PAIR, "--method", "exact", "-f", "json"))
    assert estimated["errors"] == exact["errors"] == []
    assert all(row["effect"] is row["value"] is None for row in estimated["effects"])
    assert all(row["estimate"] is None for row in exact["effects"])
    assert "0.resid_pre" in good(*PAIR, "--method", "attribution")


def test_equal_prompts_have_no_effects(good: Good) -> None:
    call = (*RANDOM, "--corrupted-ids", "1,2,3")
    found = json.loads(good(*call, "-f", "json"))
    assert found["runs"][0]["value"] == found["runs"][1]["value"]
    assert all(row["effect"] is row["estimate"] is None for row in found["effects"])
    assert len({row["value"] for row in found["effects"]}) == 1
    assert "Both passes have the same metric" in good(*call)


def test_words_are_corrupted_by_noise(good: Good) -> None:
    call = ("patch", "tiny", "-p", "And the king", "--noise", "the king", "--noise-samples", "2", "--seed", "5")
    found = json.loads(good(*call, "-f", "json"))
    assert found["noise"] == {"positions": [1, 2], "scale": 3.0, "n_samples": 2, "seed": 5}
    assert [token["is_noisy"] for token in found["tokens"]] == [False, True, True]
    assert "Gaussian noise at positions 1, 2" in good(*call)
    assert json.loads(good(*RANDOM, "--noise", "1", "-f", "json"))["noise"]["positions"] == [1]


def test_an_encoder_is_measured_at_the_position(good: Good) -> None:
    call = ("patch", "tiny-encoder", "--random-weights", "--ids", "1,2,3", "--corrupted-ids", "1,5,3")
    assert json.loads(good(*call, "--position", "1", "-f", "json"))["position"] == 1


def test_an_encoder_decoder_has_a_map_of_each_stack(good: Good) -> None:
    call = (
        "patch",
        "t5-small",
        "--random-weights",
        "--set",
        "d_model=16",
        "--set",
        "vocab_size=300",
        "-p",
        "abc",
        "--corrupted",
        "abd",
        "--target",
        "x",
    )
    found = json.loads(good(*call, "-f", "json"))
    assert [row["stack"] for row in found["errors"]] == ["encoder", "decoder"] * 3
    assert [token["position"] for token in found["tokens"] if token["stack"] == "decoder"] == [0, 1]
    assert "decoder: attention output" in good(*call)


def test_html_is_one_file_with_every_figure(good: Good, tmp_path: Path) -> None:
    good(*PAIR, "--component", "head", "--component", "ffn", "-o", "patch.html")
    page = (tmp_path / "patch.html").read_text(encoding="utf-8")
    data = re.search(r"const grids = (\[.*?\]), texts = ", page)
    assert data is not None
    titles = [grid["title"] for grid in json.loads(data[1])]
    assert titles == ["heads, all positions", "heads", "FFN output"]
    first = json.loads(data[1])[0]
    assert (len(first["rows"]), first["columns"]) == (4, ["0", "1", "2", "3", "4", "5"])
    assert list(first["values"]) == ["effect", "estimate", "value"]
    assert not re.search(r"(src|href)=", page)
    good(*PAIR, "-o", "zh.html", "--lang", "zh")
    assert '<html lang="zh">' in (tmp_path / "zh.html").read_text(encoding="utf-8")


def test_a_plot(good: Good, tmp_path: Path) -> None:
    good(*PAIR, "--component", "ffn", "--plot", "patch.svg")
    assert "FFN output" in (tmp_path / "patch.svg").read_text(encoding="utf-8")
    good(*PAIR, "--component", "ffn", "--method", "attribution", "--plot", "patch.html", "--lang", "zh")
    assert "估计值" in (tmp_path / "patch.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("form", ["csv", "md"])
def test_other_formats(good: Good, form: str) -> None:
    assert "layers.0.resid_pre" in good(*PAIR, "-f", form)


def test_chinese(good: Good) -> None:
    text = good(*PAIR, "--lang", "zh")
    assert "激活修补" in text
    assert "Largest" not in text


ERRORS = {
    (*RANDOM, "--corrupted-ids", "1,2"): "--corrupted: has 2 tokens",
    RANDOM: "--corrupted, --corrupted-ids, --noise: 0 are given",
    (*PAIR, "--noise", "king"): "--corrupted, --corrupted-ids, --noise: 2 are given",
    (*RANDOM, "--noise", "7"): "--noise: found 7",
    (*RANDOM, "--noise", "1", "--noise-scale", "0"): "--noise-scale: found 0",
    (*PAIR, "--answer", "two words"): "--answer: 'two words' is ",
    (*PAIR, "--answer", " said", "--answer-id", "3"): "--answer, --answer-id: both",
    (*PAIR, "--neuron", "3"): "--neuron: found '3'",
    (*PAIR, "--neuron", "9:1"): "--neuron: layer 9 has no hidden units",
    (*PAIR, "--target", "x"): "--target: found for a model with one stack",
    (*PAIR, "--position", "9"): "--position: found 9",
    (*PAIR[:4], "--noise", "queen"): "--noise: found 'queen'",
    ("patch", "tiny", "--prompt", "And", "--corrupted", "And", "--plot", "a.gif"): "--plot: found 'a.gif'",
}


@pytest.mark.parametrize("call", ERRORS)
def test_errors_are_one_line(cli: Cli, call: tuple[str, ...]) -> None:
    found = cli(*call)
    assert (found.code, found.out, found.err.count("\n")) == (2, "", 1)
    assert found.err.startswith(f"archcalc: {ERRORS[call]}")
