"""Sites, claims, proofs, sweeps, tokenizers and training runs in Chinese: no words stay English, and all data stay."""

from __future__ import annotations

import pytest
from msgspec import structs

from archcalc import presets
from archcalc.analysis.papers import activation_claims, claim_results, claims
from archcalc.analysis.site_shapes import site_list
from archcalc.analysis.sweep.grid import arrays
from archcalc.coverage import CHECKS, STATES, ModelTypeCoverage
from archcalc.proof import Comparison, Difference
from archcalc.render import claims as claim_pages
from archcalc.render import coverage, sweep, taps, tokenize, training_run, verify
from archcalc.render.charts.loss import loss_curve
from archcalc.render.page import Page
from archcalc.render.text import as_csv
from archcalc.results import plain
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
    work = workload(spec, past=0 if spec.family == "encoder" else 7, seq=5)
    check(taps.view(site_list(spec, found, work), None))
    assert all(isinstance(site.description, Message) for site in found)


def test_every_variant_of_keys_and_scores_has_its_own_words() -> None:
    """The same sentence in Chinese only where it is the same in English."""
    said = {str(site.description): CHINESE(site.description) for name in presets.names() for site in sites(load(name))}
    assert len(set(said.values())) == len(said) > 30


def test_a_name_of_a_site_is_no_word() -> None:
    spec = load("gpt3", {"name": "queries"})
    shown = CHINESE.within(taps.view(site_list(spec, sites(spec), workload(spec, seq=5)), None))
    assert shown.subtitle.startswith("queries · ")


def test_claims() -> None:
    result = [row for name in (*presets.names(), *presets.papers()) for row in claim_results.results_of(name)]
    check(claim_pages.view(result, None))
    wrong = structs.replace(result[0], name="holds", recorded="differs", is_as_recorded=False)
    disagreeing = claim_pages.view([wrong], None)
    check(disagreeing)
    assert CHINESE.within(disagreeing).blocks[0].rows[0][0] == "holds"
    assert str(disagreeing.blocks[1].lines[0]) == f"holds {wrong.id}: holds ≠ recorded 'differs'"
    assert str(disagreeing.subtitle) == "1 claim: 1 hold, 0 truncate, 0 differ"


def test_every_accounting_in_words_is_named() -> None:
    own = {activation_claims.GPU, activation_claims.LEDGER, activation_claims.EARLY_STOP}
    assert set(claim_results.ACCOUNTING_NAMES) == {*claims.ACCOUNTINGS, *own}
    assert all(str(message) == name for name, message in claim_results.ACCOUNTING_NAMES.items())


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
        for state in STATES
        if state != "not read"
    ]
    shown = coverage.view([*found, ModelTypeCoverage("total", "head", "", missing=msg("not read yet"))], None)
    check(shown)
    rows, counts = (block.rows for block in CHINESE.within(shown).blocks)
    assert [tuple(row[:3]) for row in rows] == [("exact", "none", "decoder")] * 5 + [("total", "head", "")]
    assert [row[3] for row in rows] == ["一致", "不符", "拒绝", "未检查", "无", "未支持"]
    assert counts == [[6, 1, 1, 1, 1]]
    assert (rows[0][-1], rows[-1][-1]) == ("refused", "尚未支持")


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
    shown = sweep.page("total", found)
    check(shown)
    assert len(shown.blocks) == 2
    assert str(shown.blocks[1].lines[0]).endswith(found.refused[0].reason)
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
    result = site_list(spec, sites(spec), workload(spec, seq=5))
    shown = taps.view(result, None)
    assert isinstance(shown, Page)
    assert "the sum of tokens, types and positions: the input of the first layer" in as_csv(shown)
    sample = Sample("head", "head", msg("the text"), 2)
    lost = Measurement("a", 5, 10, 0, 0, msg("{n} differ", n=3), [])
    for values in (plain(result), tokenize.data(sample, [lost])):
        assert not [leaf for leaf in leaves(values) if isinstance(leaf, Message)]
    assert tokenize.data(sample, [lost])["tokenizers"][0]["lost"] == "3 differ"
    assert tokenize.data(sample, [lost])["measured_on"] == "the text"
