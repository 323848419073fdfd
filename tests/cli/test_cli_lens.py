"""`archcalc lens`: every format, both languages, training, and every refusal in one line."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import archcalc
from archcalc.inside import lens, load_lens
from archcalc.presets import weights_path
from archcalc.run.loading.source import open_source
from tests.cli.conftest import Cli

Good = Callable[..., str]
TINY = ("lens", "tiny", "-p", "And God said")
RANDOM = ("--random-weights", "--set", "n_layers=1", "--set", "vocab_size=300")


@pytest.fixture
def text(tmp_path: Path) -> str:
    (tmp_path / "book.txt").write_text("In the beginning God created the heaven and the earth. " * 25)
    return "book.txt"


def test_figures_are_the_readings(good: Good) -> None:
    result = json.loads(good(*TINY, "--positions", "0,2", "--token", "unto", "--token-id", "7", "-f", "json"))
    source = open_source("tiny")
    assert source.tokenizer
    ids = source.tokenizer.encode("And God said")
    unto = source.tokenizer.encode(" unto")[0]
    read = lens(archcalc.load_model("tiny"), ids, positions=[0, 2], tokens=[unto, 7])
    assert result["sites"] == list(read.sites)
    assert [row["id"] for row in result["tokens"]] == ids
    assert [row["is_read"] for row in result["tokens"]] == [True, False, True]
    rows = {(row["path"], row["position"]): row for row in result["readings"]}
    assert len(rows) == len(result["readings"]) == 2 * len(read.sites)
    for i, site in enumerate(read.sites):
        for j, position in enumerate((0, 2)):
            row = rows[site, position]
            assert row["ids"] == read.top_ids[i, j].tolist()
            assert row["id"] == row["ids"][0]
            assert row["tokens"] == [source.piece(token) for token in row["ids"]]
            assert row["probabilities"] == pytest.approx(read.top_probabilities[i, j].tolist())
            assert (row["entropy_nats"], row["kl_nats"]) == (float(read.entropy_nats[i, j]), float(read.kl_nats[i, j]))
            assert list(row["ranks"].values()) == read.ranks[i, j, :2].tolist()
            assert (row["layer"], row["kind"]) == (int(site.split(".")[1]), "measured")
    first = result["trajectories"][0]
    assert (first["token"], first["id"], first["is_named"]) == (" unto", unto, True)
    assert first["ranks"] == read.ranks[:, 0, 0].tolist()
    assert (first["best_rank"], first["output_rank"]) == (min(first["ranks"]), first["ranks"][-1])
    assert [row["is_named"] for row in result["trajectories"]] == [True, True, False] * 2
    winner = result["trajectories"][2]
    assert winner["first_path"] == read.first_site(0, winner["id"])
    start = result["sites"].index(winner["steady_path"])
    assert set(winner["ranks"][start:]) == {1}
    assert winner["ranks"][start - 1] != 1


def test_a_table_says_what_json_has(good: Good) -> None:
    printed = good(*TINY, "--token", "unto")
    result = json.loads(good(*TINY, "--token", "unto", "-f", "json"))
    assert "After position 2 (' said')" in printed
    assert "rank of ' unto'" in printed
    for row in result["readings"]:
        line = next(line for line in printed.splitlines() if line.strip().startswith(row["path"]))
        assert repr(row["token"]) in line
        assert f"{row['probability']:.4f}" in line
        assert f"{row['ranks'][repr(' unto')]:,}" in line
    assert "never" in good(*TINY, "--token", "heaven")
    chinese = good(*TINY, "--lang", "zh")
    assert "logit lens" not in chinese
    assert "位置 2" in chinese
    assert "| layers.0.resid_pre |" in good(*TINY, "-f", "md")
    rows = list(csv.DictReader(io.StringIO(good(*TINY, "--positions", "all", "--sites", "layers", "-f", "csv"))))
    assert len(rows) == 5 * len(result["tokens"])


def test_the_page_has_every_position_and_loads_nothing(good: Good) -> None:
    html = good(*TINY, "--token", "unto", "-f", "html", "--lang", "zh")
    assert '<html lang="zh">' in html
    assert not re.search(r"(src|href)=|https?://", html)
    data = json.loads(re.search(r"const map = (.*), texts = ", html)[1])  # type: ignore[index]
    result = json.loads(good(*TINY, "--positions", "all", "--top", "10", "-f", "json"))
    n = len(result["tokens"])
    assert [len(data["sites"]), len(data["positions"])] == [9, n]
    for i, row in enumerate(result["readings"]):
        ids, probabilities, entropy, kl = data["cells"][i // n][i % n]
        assert ids == row["ids"]
        assert [data["texts"][str(token)] for token in ids] == row["tokens"]
        assert probabilities == pytest.approx(row["probabilities"], rel=1e-3)
        assert (entropy, kl) == (pytest.approx(row["entropy_nats"], abs=1e-4), pytest.approx(row["kl_nats"], abs=1e-4))
    # The named token and the likeliest of the output have exact ranks.
    assert [len(followed) for followed in data["followed"]] == [6 - (data["named"][0] in row["ids"][:5])
            for row in result["readings"][-n:]]  # fmt: skip
    assert data["followed"][0][1][1][-1] == 1


def test_the_page_of_a_long_text_has_its_last_positions(good: Good) -> None:
    """Reading them costs no more than a plain pass; --positions all reads all."""
    call = ("lens", "tiny", "--ids", ",".join(map(str, range(100, 170))), "-f", "html")
    html = good(*call)
    data = json.loads(re.search(r"const map = (.*), texts = ", html)[1])  # type: ignore[index]
    n_read = len(data["positions"])
    assert 1 < n_read < 70
    assert [position for position, _ in data["positions"]] == list(range(70 - n_read, 70))
    assert len(data["sites"]) == 5, "the ends of layers"
    assert "Only the last positions are read" in html
    whole = good(*call, "--positions", "all", "--sites", "branches")
    data = json.loads(re.search(r"const map = (.*), texts = ", whole)[1])  # type: ignore[index]
    assert (len(data["positions"]), len(data["sites"])) == (70, 9)
    assert "Only the last positions are read" not in whole


def test_a_plot_is_of_the_ranks(good: Good) -> None:
    good(*TINY, "--token", "unto", "--plot", "ranks.html", "--lang", "zh")
    page = Path("ranks.html").read_text()
    assert "unto" in page
    assert "3.resid_mid" in page
    good(*TINY, "--plot", "ranks.svg")
    assert "<svg" in Path("ranks.svg").read_text()


@pytest.mark.parametrize(
    ("source", "options", "n_sites"),
    [
        ("bert-base", (), 3),
        ("t5-small", ("--target", "a b"), 4),
        ("gpt2", (), 3),
    ],
)
def test_every_family_is_read(good: Good, source: str, options: tuple[str, ...], n_sites: int) -> None:
    call = ("lens", source, *RANDOM, "--ids", "1,2,3", *options, "--positions", "all")
    result = json.loads(good(*call, "-f", "json"))
    assert len(result["sites"]) == n_sites
    last = [row for row in result["readings"] if row["path"] == result["sites"][-1]]
    assert [row["kl_nats"] for row in last] == [0] * len(result["tokens"])
    assert len(result["tokens"]) == (4 if source == "t5-small" else 3)
    assert ("At position 0" if source == "bert-base" else "After position 0") in good(*call)


def test_a_lens_is_trained_saved_and_read(good: Good, text: str) -> None:
    call = ("lens", "tiny", "--train", text, "--lens", "a.safetensors", "--steps", "3", "--seq", "16")
    result = json.loads(good(*call, "-f", "json"))
    held = load_lens("a.safetensors")
    assert (result["lens_kind"], result["file"], result["lens_origin"]) == ("tuned", "a.safetensors", dict(held.origin))
    assert (held.origin["text"], held.origin["steps"], len(held.origin["sha256"])) == ("book.txt", 3, 64)
    assert len(held.maps) == 8
    assert len(result["divergences"]) == 9
    first = result["divergences"][0]
    assert first["lens_kl_nats"] < first["logit_kl_nats"]
    read = json.loads(good(*TINY, "--lens", "a.safetensors", "-f", "json"))
    assert (read["lens_kind"], read["lens_origin"]) == ("tuned", dict(held.origin))
    plain = json.loads(good(*TINY, "-f", "json"))
    assert read["readings"][0]["kl_nats"] != plain["readings"][0]["kl_nats"]
    assert read["readings"][-1] == plain["readings"][-1], "the last site is the output"
    assert "tuned lens" in good(*TINY, "--lens", "a.safetensors")
    assert "On held-out tokens" in good(*call)


def test_a_lens_lies_beside_the_model(good: Good, cli: Cli, text: str) -> None:
    weights = weights_path("tiny")
    assert weights
    shutil.copytree(weights, "model")
    found = cli("lens", "./model", "-p", "And", "--kind", "tuned")
    assert (found.code, found.err.count("\n")) == (2, 1)
    assert "model/tuned-lens.safetensors: there is no tuned lens; expected one made with --train" in found.err
    good("lens", "./model", "--train", text, "--steps", "2", "--seq", "16", "--sites", "layers")
    result = json.loads(good("lens", "./model", "-p", "And", "--kind", "tuned", "-f", "json"))
    assert result["lens_kind"] == "tuned"
    assert len(load_lens("model/tuned-lens.safetensors").maps) == 4
    good("generate", "./model", "-p", "And", "-n", "1", "-q")


def test_the_jacobian_is_of_the_prompt_or_of_a_text(good: Good, text: str) -> None:
    of_prompt = json.loads(good(*TINY, "--kind", "jacobian", "-f", "json"))
    assert of_prompt["lens_origin"] == {"model": "tiny", "n_texts": 1, "n_tokens": 3, "skip": 0}
    Path("short.txt").write_text(Path(text).read_text()[:250])
    call = ("lens", "tiny", "--train", "short.txt", "--kind", "jacobian", "--seq", "24", "--sites", "layers")
    result = json.loads(good(*call, "--lens", "j.safetensors", "-f", "json"))
    assert result["lens_origin"]["skip"] == 6
    assert torch.isfinite(load_lens("j.safetensors").maps["layers.0.resid_post"][0]).all()
    read = json.loads(good(*TINY, "--lens", "j.safetensors", "-f", "json"))
    assert read["lens_kind"] == "jacobian"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["tiny"], "--prompt, --ids: neither"),
        (["tiny", "-p", "a", "--positions", "x"], "--positions: found 'x'; expected last, all, or such as 0,3-5"),
        (["tiny", "-p", "a", "--positions", "5-3"], "--positions: found '5-3'; expected a range that ascends"),
        (["tiny", "-p", "a", "--positions", "9"], "--positions: found 9; expected 0 to 0, or 'all'"),
        (["tiny", "-p", "a", "--token", "Constantinople"], "expected the text of one token, or --token-id"),
        (["tiny", "-p", "a", "--token-id", "5000"], "found id 5000; expected 0 to 2,047"),
        (
            ["tiny", "-p", "a", "--kind", "tuned"],
            "there is no tuned lens; expected --lens, or a lens made with --train",
        ),
        (["tiny", "-p", "a", "--lens", "none.safetensors"], "none.safetensors: cannot be read"),
        (["tiny", "-p", "a", "--kind", "logit", "--lens", "x"], "--lens: found with --kind logit; expected no value"),
        (["tiny", "-p", "a", "--target", "b"], "--target: found for a model of the family decoder; expected no value"),
        (["tiny", "-p", "a", "--plot", "x.gif"], "--plot: found 'x.gif'"),
        (["tiny", "-p", "a", "--train", "book.txt"], "--prompt, --ids: found with --train; expected no value"),
        (["tiny", "--train", "book.txt"], "--lens: left out, and nothing is written beside tiny"),
        (["tiny", "--train", "book.txt", "--kind", "logit"], "--kind: found logit, which is not trained"),
        (["tiny", "--train", "none.txt", "--lens", "x"], "none.txt: cannot be read"),
        (["tiny", "--train", "book.txt", "--lens", "x", "--seq", "1000"], "--seq: found 1000; expected 2 to 256"),
        (["tiny", "--train", "book.txt", "--lens", "x", "--seq", "256"], "book.txt: has "),
        (["t5-small", *RANDOM, "--train", "book.txt", "--lens", "x"], "book.txt: found '"),
        (["gpt3", "-p", "a"], "gpt3: has no weights"),
        (["tiny", "-p", "a", "--quantize", "int8"], "found a model that is not packed"),
    ],
)
def test_every_refusal_is_one_line(cli: Cli, args: list[str], said: str, text: str) -> None:
    found = cli("lens", *args)
    assert (found.code, found.out, found.err.count("\n")) == (2, "", 1)
    assert said in found.err


def test_a_lens_of_another_kind_or_model(cli: Cli, good: Good, text: str, tmp_path: Any) -> None:
    other = ("lens", "tiny", "--random-weights", "--set", "d_model=96")
    good(*other, "--train", text, "--lens", "h.safetensors", "--steps", "1", "--seq", "9")
    found = cli(*TINY, "--lens", "h.safetensors")
    assert (found.code, found.err.count("\n")) == (2, 1)
    assert "expected 192 × 192, a lens of this model" in found.err
    found = cli(*TINY, "--lens", "h.safetensors", "--kind", "jacobian")
    assert "h.safetensors: found a lens of the kind tuned; expected jacobian" in found.err
