"""`archcalc attention`: every format, charts, both languages, and every refusal in one line."""

from __future__ import annotations

import csv
import io
import json
import re
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import archcalc
from archcalc.inside import attention
from archcalc.run.loading.source import open_source
from tests.cli.conftest import Cli

Good = Callable[..., str]
TINY = ("attention", "tiny", "-p", "And God said unto")
PAIR = ("attention", "tiny-seq2seq", "--random-weights", "--ids", "5,6,7,8")


def test_figures_are_those_of_the_reading(good: Good) -> None:
    result = json.loads(good(*TINY, "--head", "3.5", "--pair", "3,1", "-f", "json"))
    source = open_source("tiny")
    assert source.tokenizer
    ids = source.tokenizer.encode("And God said unto")
    reading = attention(archcalc.load_model("tiny"), ids)
    assert result["texts"] == [[source.piece(token) for token in ids]]
    assert [(row["path"], row["head"]) for row in result["heads"]] == [
        (path, n) for path, arm in reading.arms.items() for n in range(arm.n_heads)
    ]
    assert reading.kinds
    for row in result["heads"]:
        path, n = row["path"], row["head"]
        assert row["entropy_nats"] == pytest.approx(float(reading.entropy_nats(path)[n].mean()))
        assert row["head_kind"] == reading.kinds.kind(path, n)
        scores = [row[kind] for kind in ("previous_token", "first_token", "induction", "duplicate_token")]
        assert scores == pytest.approx(reading.kinds.scores[path][n].tolist())
    selected = result["selected"]
    pattern = reading.patterns["layers.3.attn"][5]
    weights = [[0.0] * len(ids) for _ in ids]
    for cell in selected["weights"]:
        assert (cell["weight"] is None) == (cell["score"] is None) == (cell["key"] > cell["query"])
        weights[cell["query"]][cell["key"]] = cell["weight"] or 0.0
    torch.testing.assert_close(torch.tensor(weights), pattern)
    pair = selected["pair"]
    assert (pair["query"], pair["key"]) == (3, 1)
    assert pair["score"] == pytest.approx(sum(row["product"] for row in pair["products"]) + pair["rest"])
    sizes = [abs(row["product"]) for row in pair["products"]]
    assert sizes == sorted(sizes, reverse=True)


def test_every_format_has_every_head(good: Good) -> None:
    result = json.loads(good(*TINY, "-f", "json"))
    text, rows = good(*TINY), list(csv.DictReader(io.StringIO(good(*TINY, "-f", "csv"))))
    assert len(rows) == len(result["heads"]) == 24
    for row, head in zip(rows, result["heads"], strict=True):
        assert (row["path"], int(row["head"]), row["head_kind"]) == (head["path"], head["head"], head["head_kind"])
        assert f"{head['entropy_nats']:.4f}" in text
    assert "previous token" in text
    assert "| layers.3.attn |" in good(*TINY, "-f", "md")
    assert "entropy" not in good(*TINY, "--lang", "zh").split("\n", 1)[0]
    without = good(*TINY, "--no-kinds")
    assert "induction" not in without
    assert json.loads(good(*TINY, "--no-kinds", "-f", "json"))["n_repeated"] is None
    masked = good(*TINY, "--head", "layers.3.attn.5", "--pair", "1,3")
    assert "the mask hides key 3 from query 1" in masked
    assert "keys of query 3" in good(*TINY, "--head", "3.5")


def test_the_page_has_every_weight_and_loads_nothing(good: Good) -> None:
    html = good(*PAIR, "-f", "html", "--lang", "zh")
    assert '<html lang="zh">' in html
    assert not re.search(r"(src|href)=|https?://", html)
    data = json.loads(re.search(r"const data = (.*), texts = ", html)[1])  # type: ignore[index]
    result = json.loads(good(*PAIR, "-f", "json"))
    assert [one["path"] for one in data["attentions"]] == list(dict.fromkeys(row["path"] for row in result["heads"]))
    for one in data["attentions"]:
        n_queries, n_keys = (len(data["texts"][one[axis]]) for axis in ("queries", "keys"))
        assert (one["keys"] == 0) == ("encoder" in one["path"] or one["path"].endswith("cross"))
        cells = b64decode(one["cells"])
        assert len(cells) == 2 * len(one["heads"]) * n_queries * n_keys


@pytest.mark.parametrize("options", [(), ("--no-kinds",), ("--head", "3.5")])
def test_a_plot(good: Good, options: tuple[str, ...]) -> None:
    good(*TINY, *options, "--plot", "a.svg")
    drawing = Path("a.svg").read_text()
    assert "tiny: attention heads" in drawing
    assert ("layers.3.attn, head 5" in drawing) == bool(options[1:])
    # A cell for each head, or for each weight that is not masked, beside a few of the frame.
    assert drawing.count("<path") > (10 if options[1:] else 24)
    good(*TINY, *options, "--plot", "a.html", "--lang", "zh")
    assert "attention heads" not in Path("a.html").read_text()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["tiny"], "--prompt, --ids: neither"),
        (["tiny", "-p", "a", "--head", "x"], "--head: found 'x'; expected such as 3.0 or layers.3.attn.0"),
        (["tiny", "-p", "a", "--head", "9.0"], "--head: found 'layers.9.attn'; expected one of layers.0.attn"),
        (["tiny", "-p", "a", "--head", "3.6"], "--head: found 6; expected 0 to 5"),
        (["tiny", "-p", "a", "--pair", "0,0"], "--pair: found without --head"),
        (["tiny", "-p", "a", "--head", "3.5", "--pair", "0"], "--pair: found '0'; expected two positions, such as 4,2"),
        (["tiny", "-p", "a", "--head", "3.5", "--pair", "0,4"], "found 4; expected 0 to 0"),
        (["tiny", "-p", "a", "--plot", "a.gif"], "--plot: found 'a.gif'"),
        (["tiny", "-p", "a", "--target", "b"], "--target: found for a model of the family decoder; expected no value"),
        (["tiny", "-p", "a", "--quantize", "int8"], "found a model that is not packed"),
        (["gpt3", "-p", "a"], "gpt3: has no weights"),
    ],
)
def test_every_refusal_is_one_line(cli: Cli, args: list[str], said: str) -> None:
    found = cli("attention", *args)
    assert (found.code, found.out, found.err.count("\n")) == (2, "", 1)
    assert said in found.err
