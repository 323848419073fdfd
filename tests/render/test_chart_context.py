"""The figure of cost against context length: what it shows, that its words keep apart, and the files it makes."""

from __future__ import annotations

import json
import re
import struct
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archcalc import presets
from archcalc.analysis.context import PHASES, ContextFlops, Phase, context
from archcalc.errors import InputError, MissingExtraError
from archcalc.render.charts.context import LINE, apart, chart, chart_file, lines
from archcalc.render.charts.frame import HEIGHT
from archcalc.render.context import crossing_sentences
from archcalc.sources import load
from archcalc.spec.document import decode
from archcalc.words import ENGLISH


def marks(layer: dict[str, Any]) -> list[dict[str, Any]]:
    """Every single mark of a chart, those within layers too."""
    inner = layer.get("layer")
    if inner is None:
        return [layer]
    own = {"data": layer["data"]} if "data" in layer else {}
    return [mark for one in inner for mark in marks(own | one)]


def words(made: dict[str, Any]) -> list[str]:
    return [
        mark["mark"]["text"] for mark in marks(made) if mark["mark"]["type"] == "text" and "stroke" not in mark["mark"]
    ]


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("name", presets.names())
def test_lines_are_the_points(name: str, phase: Phase) -> None:
    spec = load(name)
    if phase == "decode" and spec.decoder is None:
        return
    found = context(spec, phase)
    made = ENGLISH.within(chart(found))
    by_name = {str(line.name): dict(line.values) for line in lines(found)}
    for point in found.points:
        parts = ("projections", "scores and values")
        whole = by_name["attention"][point.tokens]
        assert whole == pytest.approx(sum(by_name[part][point.tokens] for part in parts))
        others = [one for one in by_name if one not in (*parts, "attention") and "causal" not in one]
        total = whole + sum(by_name[one][point.tokens] for one in others)
        assert total * point.new_tokens == pytest.approx(sum(point.forward.values()))
    assert set(words(made)) >= set(by_name)
    shown = [found.crossing, found.crossing_causal] if found.is_causal else [found.crossing]
    marked = [mark["data"]["values"][0]["tokens"] for mark in marks(made) if mark["mark"]["type"] == "rule"]
    assert marked == [tokens for tokens in shown if tokens and tokens > 2]
    subtitle = " ".join(made["title"]["subtitle"]).lower()
    assert all(str(sentence).lower() in subtitle for sentence in crossing_sentences(found))
    assert json.loads(json.dumps(made)) == made


def said(found: ContextFlops) -> list[str]:
    return [str(sentence) for sentence in crossing_sentences(found)]


def test_what_is_said() -> None:
    every, causal = said(context(load("llama-3-8b"), "prefill"))
    assert every == "attention overtakes the FFN at 16,385 tokens: every key held"
    assert causal == "attention overtakes the FFN at 32,768 tokens: causal, attended pairs only"
    assert said(context(load("gpt3"), "prefill")) == ["attention never overtakes the FFN within 2,048 tokens"]
    assert said(context(load("happy"), "prefill")) == ["attention costs more than the FFN from the first token on"]
    norm, attention = {"kind": "layernorm"}, {"kind": "gqa", "n_heads": 2}
    stack = {"n_layers": 1, "runs": [{"pattern": [{"norm": norm, "attention": attention}]}]}
    document = {"name": "x", "vocab_size": 9, "n_ctx": 16, "d_model": 4, "decoder": stack}
    assert said(context(decode(document), "prefill")) == ["there is no FFN to overtake"]


def test_latent_attention_is_explained_where_its_projections_grow() -> None:
    spec = load("deepseek-v3")
    growing, flat = (ENGLISH.within(chart(context(spec, phase))) for phase in ("decode", "prefill"))
    assert "rebuilds" in growing["title"]["subtitle"][-1]
    assert "rebuilds" not in "".join(flat["title"]["subtitle"])


@given(st.lists(st.floats(0, HEIGHT), min_size=1, max_size=12))
def test_labels_keep_apart_and_inside(places: list[float]) -> None:
    wanted = sorted(places)
    placed = apart(wanted)
    assert all(below - above >= LINE - 1e-6 for above, below in pairwise(placed))
    assert placed[-1] <= HEIGHT
    if all(below - above >= LINE for above, below in pairwise(wanted)):
        assert placed == wanted


def test_the_files() -> None:
    spec = load("tiny")
    found = context(spec, "prefill")
    png, svg, page = (chart_file(f"x.{suffix}", found) for suffix in ("png", "SVG", "html"))
    assert png.startswith(b"\x89PNG\r\n")
    width, height = struct.unpack(">II", png[16:24])
    assert 1500 < width < 2500
    assert 800 < height < 1600
    texts = " ".join(ElementTree.fromstring(svg).itertext())  # noqa: S314
    for said in (
        "attention overtakes the FFN at 513 tokens",
        "forward FLOPs per token",
        "context length, tokens",
        "FFN",
    ):
        assert said.lower() in texts.lower()
    assert not re.search(rb"<(?:script|link|img|iframe)[^>]*\s(?:src|href)=[\"']?(?:https?:)?//", page)
    assert b"vegaEmbed" in page
    assert "513 tokens" in page.decode()


def test_a_title_cannot_leave_its_script() -> None:
    """The library writes a chart into a script as it is."""
    spec = load({"base": "tiny", "name": "x", "title": "</script><script>alert(1)</script>&"})
    page = chart_file("x.html", context(spec, "prefill")).decode()
    assert "<script>alert" not in page
    assert page.count("</script>") == chart_file("x.html", context(load("tiny"), "prefill")).decode().count("</script>")
    assert r"\u003c/script>\u003cscript>alert(1)" in page
    assert "<title>&lt;/script&gt;" in page


@pytest.mark.parametrize(("phase", "up_to"), [("prefill", 1), ("decode", 2), ("prefill", 2)])
def test_the_shortest_contexts(phase: Phase, up_to: int) -> None:
    spec = load("tiny")
    found = context(spec, phase, up_to)
    assert chart_file("x.svg", found).startswith(b"<svg")
    assert json.dumps(ENGLISH.within(chart(found)))


@pytest.mark.parametrize("path", ["x.jpg", "x", "-", "png"])
def test_other_suffixes_are_refused(path: str) -> None:
    spec = load("tiny")
    with pytest.raises(InputError, match=r"^plot: found .*; expected a name that ends in \.html, \.png or \.svg"):
        chart_file(path, context(spec, "prefill"))


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archcalc.extras.find_spec", lambda name: None)
    spec = load("tiny")
    with pytest.raises(
        MissingExtraError, match=r"drawing a plot needs the extra 'plot': pip install 'archcalc\[plot\]'"
    ):
        chart_file("x.png", context(spec, "prefill"))
