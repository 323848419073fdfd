"""Pages in Chinese: nothing that is words is left in English, and numbers and names stay."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from archcalc import presets
from archcalc.analysis.model_workload import ModelWorkload
from archcalc.analysis.papers.claims import check
from archcalc.analysis.workload_flops import workload_flops
from archcalc.ledger.build import build
from archcalc.render import claims, flops, report
from archcalc.render.lang.pages import WORDS
from archcalc.render.page import Block, Column, Page, Table, Text
from archcalc.render.report import VIEWS
from archcalc.render.translate import block_in, chart_in, said
from archcalc.sources import load
from archcalc.spec.execution import Execution
from archcalc.spec.workload import workload
from archcalc.words import translator

ZH = translator("zh")
CHINESE = re.compile("[\u4e00-\u9fff]")
MODELS = ("gpt3-175b", "deepseek-v3", "t5-small", "bert-base", "gemma-2-9b")
# What has no words, or is somebody else's: formulas, paths, axes and shapes; where a figure was published and how its
# quantity is called in a preset's file; names of models, functions, kinds of layers; what is counted of a function.
NAMES = {
    "weight",
    "tensor",
    "axes",
    "formula",
    "quantity",
    "where published",
    "layer",
    "kind",
    "operation",
    "which are",
}
NAMES |= {"model", "shape", "cache", "op", "path", "published", "exact here"}


def pages() -> Iterator[Page]:
    for name in MODELS:
        spec = load(name)
        work = workload(spec)
        subject = ModelWorkload(spec, build(spec), work, "bf16")
        yield from (report.page(subject, view) for view in VIEWS)
        yield claims.page([(name, one) for one in check(spec, subject.ledger)])
        yield flops.page(workload_flops(spec, work, Execution(), conventions=False), "components")


def blocks() -> Iterator[Block]:
    return (block for page in pages() for block in page.blocks)


def left(block: Block) -> Iterator[str]:
    """What is still English of a block in Chinese."""
    assert isinstance(block, Table | Text)
    if isinstance(block, Text) and block.title in ("Notes", "Closed form"):
        return
    shown = block_in(block, ZH)
    told = [shown.title]
    if isinstance(block, Table) and isinstance(shown, Table):
        told += [column.heading for column in shown.columns]
        kept = [i for i, column in enumerate(block.columns) if column.heading not in NAMES]
        told += [str(row[i]) for row in shown.rows for i in kept if isinstance(row[i], str)]
    elif isinstance(shown, Text):
        told += shown.lines
    plain = {"bf16", "FLOPs", ""}
    yield from (one for one in told if re.search("[a-z]{2}", one) and one not in plain and not CHINESE.search(one))


def test_no_words_are_left_in_english() -> None:
    assert sorted({one for block in blocks() for one in left(block)}) == []


def test_numbers_and_kinds_stay() -> None:
    for block in blocks():
        if isinstance(block, Table):
            shown = block_in(block, ZH)
            assert [column.kind for column in shown.columns] == [column.kind for column in block.columns]
            for row, other in zip(block.rows, shown.rows, strict=True):
                assert [a for a in row if not isinstance(a, str)] == [b for b in other if not isinstance(b, str)]
            assert block_in(block, translator("en")) is block


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        ("Workload: 2 × 2,048 tokens after 5, source 7", "负载：2 × 2,048 个词元，之前 5 个，源文本 7 个"),
        ("peak: the loss's gradient", "峰值：损失的梯度"),
        ("bf16, after 12 tokens", "bf16，12 个词元之后"),
        ("layers.*.attn.q.weight", "layers.*.attn.q.weight"),
    ],
)
def test_sentences_with_places(english: str, chinese: str) -> None:
    assert said(english) == chinese


def test_places_do_not_hide_a_sentence_of_its_own() -> None:
    """A sentence with more places stands before one that would take all of it."""
    for english, chinese in WORDS.values():
        values = dict.fromkeys(re.findall(r"\{(\w+)\}", english), "7")
        assert said(english.format(**values)) == chinese.format(**values)


def test_charts_speak_but_their_data_do_not() -> None:
    chart = {
        "title": {"text": "Weights"},
        "data": {"values": [{"of": "weights"}]},
        "layer": [{"x": {"title": "share"}}],
    }
    found = chart_in(chart, ZH)
    assert found["title"] == {"text": "权重"}
    assert found["data"] == chart["data"]
    assert found["layer"][0]["x"]["title"] == "占比"


def test_every_preset_has_claims_that_can_be_told() -> None:
    assert len(presets.names()) > len(MODELS)
    assert block_in(Table("Totals", (Column("verdict"),), [("holds",)]), ZH).rows == [["成立"]]
