"""Sites, claims, proofs, sweeps, tokenizers and training runs in Chinese: no words stay English, and all data stay."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from archcalc import presets
from archcalc.analysis.papers import activation_claims, claims, published_tables
from archcalc.analysis.sweep.grid import arrays
from archcalc.analysis.sweep.result import sweep_result
from archcalc.coverage import CHECKS, ModelTypeCoverage
from archcalc.ledger.build import build
from archcalc.proof import Comparison, Difference
from archcalc.render import claims as claim_pages
from archcalc.render import coverage, sweep, taps, tokenize, training_run, verify
from archcalc.render.charts.loss import loss_curve
from archcalc.render.page import Page
from archcalc.render.text import as_csv
from archcalc.sources import load
from archcalc.spec.sites import sites
from archcalc.spec.workload import workload
from archcalc.text.measurement import Measurement, Sample
from archcalc.words import Message, msg
from tests.render.chinese import CHINESE, check, leaves

# Rotated, capped, biased and latent attention; a mixture of experts; one stack and two.
SITES = ["bert-base", "deepseek-v3", "gemma-2-9b", "gpt3", "gpt-oss-20b", "t5-small", "tiny-seq2seq"]


@pytest.mark.parametrize("name", SITES)
def test_sites(name: str) -> None:
    spec = load(name)
    found = sites(spec)
    check(taps.page(spec, found, workload(spec, past=0 if spec.family == "encoder" else 7, seq=5)))
    assert all(isinstance(site.description, Message) for site in found)


def test_every_variant_of_keys_and_scores_has_its_own_words() -> None:
    """The same sentence in Chinese only where it is the same in English."""
    said = {str(site.description): CHINESE(site.description) for name in presets.names() for site in sites(load(name))}
    assert len(set(said.values())) == len(said) > 30


def test_a_name_of_a_site_is_no_word() -> None:
    spec = load("gpt3", {"name": "queries"})
    shown = CHINESE.within(taps.page(spec, sites(spec), workload(spec, seq=5)))
    assert shown.subtitle.startswith("queries · ")


def test_claims() -> None:
    found = []
    for name in presets.names():
        spec = load(name)
        found += [(name, checked) for checked in claims.check(spec, build(spec))]
    for name in presets.papers():
        found += [(name, checked) for checked in published_tables.check(published_tables.load(name))]
    shown = claim_pages.page(found)
    check(shown)
    recorded = msgspec.structs.replace(found[0][1].claim, verdict="differs")
    wrong = replace(found[0][1], claim=recorded, agrees_with_record=False)
    disagreeing = claim_pages.page([("holds", wrong)])
    check(disagreeing)
    assert CHINESE.within(disagreeing).blocks[0].rows[0][0] == "holds"
    assert str(disagreeing.blocks[0].rows[0][4]) == "holds ≠ recorded 'differs'"
    assert str(disagreeing.subtitle) == "1 claim: 1 hold, 0 truncate, 0 differ"


def test_every_accounting_in_words_is_named() -> None:
    own = {activation_claims.GPU, activation_claims.LEDGER, activation_claims.EARLY_STOP}
    assert set(claim_pages.ACCOUNTING_NAMES) == {*claims.ACCOUNTINGS, *own}
    assert all(str(message) == name for name, message in claim_pages.ACCOUNTING_NAMES.items())


def test_proofs() -> None:
    differences = (Difference("total", "[1] frozen", None), Difference("absent", None, "[2, 3]"))
    comparisons = [
        Comparison("ledger", "module", 2, 3, 0.5, differences),
        Comparison("ledger", "transformers", 2, 3, 1),
    ]
    shown = verify.page([("equal", comparisons), ("module", comparisons[:1])], "transformers")
    check(shown)
    table, first, second, missing = CHINESE.within(shown).blocks
    assert [row[0] for row in table.rows] == ["equal", "equal", "module"]
    assert first.lines == ["total：[1] frozen ≠ 不存在", "absent：不存在 ≠ [2, 3]"]
    assert (second.title, missing.lines) == ("module：账本 ≠ 模块", ["module"])


def test_coverage() -> None:
    found = [
        ModelTypeCoverage("exact", "none", "decoder", **dict.fromkeys(CHECKS, state), missing="refused")
        for state in coverage.STATES
        if state != "not read"
    ]
    shown = coverage.page([*found, ModelTypeCoverage("total", "head", "", missing=msg("not read yet"))])
    check(shown)
    rows = CHINESE.within(shown).blocks[0].rows
    assert [tuple(row[:3]) for row in rows[:-1]] == [("exact", "none", "decoder")] * 5 + [("total", "head", "")]
    assert [row[3] for row in rows] == ["一致", "不符", "拒绝", "未检查", "无", "未支持", "1"]
    assert (rows[0][-1], rows[-2][-1]) == ("refused", "尚未支持")


def test_training_runs() -> None:
    held_out = {"step": 2, "nats": 1.5, "nats_per_character": None, "right": 0.5}
    figures = dict.fromkeys(training_run.KINDS, 2) | {"held_out": held_out}
    shown = training_run.page({"model": "loss", "checkpoint": "runs/steps", **figures})
    check(shown)
    assert str(shown.subtitle) == ("exact: steps, tokens, flops; measured: seconds, tokens per second, loss, held out")
    assert CHINESE.within(shown).title == "loss，已训练"
    assert set(training_run.NAMES) == set(training_run.KINDS)


def test_the_loss_curve() -> None:
    for n_steps in (2, 5000):
        check(loss_curve("held out", [1.0] * n_steps, [(2, 1.5)]))
    chart = CHINESE.within(loss_curve("held out", [1.0, 2.0], [(2, 1.5)]))
    assert chart["title"]["text"] == "held out：损失"
    drawn = [value["of"] for value in chart["data"]["values"]]
    assert list(dict.fromkeys(drawn)) == chart["encoding"]["color"]["scale"]["domain"]


def test_sweeps() -> None:
    found = arrays("tiny", {"n_heads": [4, 5, 7], "d_ff": [64, 128]}, figures=["params.total"], work={}, changes={})
    result = sweep_result("total", found)
    shown = sweep.view(result)
    check(shown)
    assert len(shown.blocks) == 2
    assert str(shown.blocks[1].lines[0]).endswith(str(result.refused[0].reason))
    assert CHINESE.within(shown).blocks[1].lines[0].startswith("略去 4 种，首个为 n_heads=5, d_ff=64：")


def test_tokenizers() -> None:
    found = [
        Measurement("nothing", 5, 10, 0, 0, None, []),
        Measurement("tokens", 5, 10, 2, 4, msg("{n} differ", n=3), [(1, "the text", "the text")]),
    ]
    for of in (msg("the text"), "the text"):
        shown = tokenize.page(Sample("head", "head", of, 2), found)
        check(shown)
        table, empty, split = CHINESE.within(shown).blocks
        assert [row[0] for row in table.rows] == ["nothing", "tokens"]
        assert (empty.title, empty.lines) == ("nothing：0 个词元", ["无", ""])
        assert (split.title, split.lines) == ("tokens：1 个词元", ["│the text│", "1"])


def test_programs_read_english() -> None:
    """CSV is not translated, and JSON has no messages."""
    spec = load("gpt3")
    work = workload(spec, seq=5)
    shown = taps.page(spec, sites(spec), work)
    assert isinstance(shown, Page)
    assert "the sum of tokens, types and positions: the input of the first layer" in as_csv(shown)
    sample = Sample("head", "head", msg("the text"), 2)
    lost = Measurement("a", 5, 10, 0, 0, msg("{n} differ", n=3), [])
    for plain in (taps.data(spec, sites(spec), work), tokenize.data(sample, [lost])):
        assert not [leaf for leaf in leaves(plain) if isinstance(leaf, Message)]
    assert tokenize.data(sample, [lost])["tokenizers"][0]["lost"] == "3 differ"
    assert tokenize.data(sample, [lost])["measured_on"] == "the text"
