"""`archcalc attribute`: named tokens, every format, charts, both languages, and every refusal in one line."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

import archcalc
from archcalc.inside import attribute
from archcalc.run.loading.source import open_source
from tests.cli.conftest import Cli

Good = Callable[..., str]
TINY = ("attribute", "tiny", "-p", "And God said unto")
NAMED = (*TINY, "--token", "Moses", "--against", "him")


def test_figures_are_those_of_the_attribution(good: Good) -> None:
    result = json.loads(good(*NAMED, "--heads", "2", "--edges", "3", "-f", "json"))
    source = open_source("tiny")
    assert source.tokenizer
    ids = source.tokenizer.encode("And God said unto")
    (moses,), (him,) = (source.tokenizer.encode(text) for text in (" Moses", " him"))
    found = attribute(archcalc.load_model("tiny"), ids, token=moses, against=him)
    assert (result["token"], result["id"], result["against"], result["against_id"]) == (" Moses", moses, " him", him)
    assert result["logit"] == found.logit
    values = [row["contribution"] for row in result["contributions"]]
    assert values == [*(one.value for one in found.contributions), found.remainder]
    assert sum(values) == pytest.approx(found.logit, abs=1e-12)
    assert [row["part"] for row in result["contributions"]][-1] == "remainder"
    heads = sorted((one for one in found.contributions if one.head is not None), key=lambda one: -abs(one.value))
    edges = [(row["path"], row["head"]) for row in result["edges"]]
    assert edges == [(one.path, one.head) for one in heads[:2] for _ in range(3)]
    for row in result["edges"]:
        assert row["contribution"] == pytest.approx(float(found.edges[row["path"]][row["head"], row["key"]]))
        assert row["token"] == source.piece(ids[row["key"]])
        assert len(row["promotes"]) == 3


def test_a_token_is_the_same_by_name_and_by_id(good: Good) -> None:
    result = json.loads(good(*NAMED, "-f", "json"))
    by_id = ("--token-id", str(result["id"]), "--against-id", str(result["against_id"]))
    assert json.loads(good(*TINY, *by_id, "-f", "json")) == result
    assert json.loads(good(*TINY, "--token", " Moses", "--against", " him", "-f", "json")) == result
    likeliest = json.loads(good(*TINY, "-f", "json"))
    assert likeliest["against"] is None
    assert json.loads(good(*TINY, "--token", likeliest["token"], "-f", "json")) == likeliest


def test_every_format_has_every_part(good: Good) -> None:
    result = json.loads(good(*NAMED, "-f", "json"))
    rows, text = list(csv.DictReader(io.StringIO(good(*NAMED, "-f", "csv")))), good(*NAMED)
    parts = [row for row in rows if row.get("part")]
    assert [float(row["contribution"]) for row in parts] == [row["contribution"] for row in result["contributions"]]
    assert "logit of ' Moses' minus that of ' him' at position 3" in text
    assert f"{result['logit']:.4f}" in text
    assert "Contribution graph" in text
    assert "Contribution graph" not in good(*NAMED, "--heads", "0")
    assert "| layers.3.ffn |" in good(*NAMED, "-f", "md")
    assert "at position 1" in good(*NAMED, "--position", "1")
    assert "Contribution graph" not in good(*NAMED, "--lang", "zh")


def test_a_plot_and_a_page_with_it(good: Good) -> None:
    good(*NAMED, "--plot", "a.svg", "-o", "a.html")
    for name in ("a.svg", "a.html"):
        drawn = Path(name).read_text()
        assert drawn.count("<svg") == 1
        assert drawn.count("feed-forward") >= 1
        # A segment for each head and feed-forward, and the embedding.
        assert drawn.count("<path") > 4 * 7
    assert "http" not in Path("a.html").read_text().replace("http://www.w3.org/", "")
    good(*NAMED, "--plot", "b.html", "--lang", "zh")
    assert "feed-forward" not in Path("b.html").read_text()
    good("attribute", "gpt2", "--random-weights", "--set", "n_layers=2", "--set", "vocab_size=40", "--ids", "1,2",
         "--plot", "biased.svg")  # fmt: skip
    assert "attention bias" in Path("biased.svg").read_text()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["tiny"], "--prompt, --ids: neither"),
        (["tiny", "-p", "a", "--token", "Constantinople"], "--token: 'Constantinople' is "),
        (["tiny", "-p", "a", "--token", "Constantinople"], "expected the text of one token, or --token-id"),
        (["tiny", "-p", "a", "--token", "God", "--token-id", "4"], "--token, --token-id: both; expected one of them"),
        (["tiny", "-p", "a", "--against", "two words"], "expected the text of one token, or --against-id"),
        (["tiny", "-p", "a", "--token-id", "2048"], "found 2048; expected 0 to 2047"),
        (["tiny", "-p", "a", "--position", "1"], "--position: found 1"),
        (["tiny", "-p", "a", "--plot", "a.gif"], "--plot: found 'a.gif'"),
        (["happy", "--random-weights", "--ids", "1", "--token", "a"], "there is no tokenizer; expected --token-id"),
        (["bert-base", "--random-weights", "--set", "head=null", "--ids", "1"], "the model predicts no tokens"),
        (["gpt3", "-p", "a"], "gpt3: has no weights"),
    ],
)  # fmt: skip
def test_every_refusal_is_one_line(cli: Cli, args: list[str], said: str) -> None:
    found = cli("attribute", *args)
    assert (found.code, found.out, found.err.count("\n")) == (2, "", 1)
    assert said in found.err
