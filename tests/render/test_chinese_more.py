"""Sites, claims, proofs, sweeps, tokenizers and training runs in Chinese: no words stay English, and all data stay."""

from __future__ import annotations

import pytest
from msgspec import structs

from archcalc import presets
from archcalc.analysis.papers import activation_claims, claim_results, claims
from archcalc.analysis.site_shapes import site_list
from archcalc.analysis.sweep.grid import arrays
from archcalc.analysis.sweep.result import sweep_result
from archcalc.coverage import CHECKS, STATES, ModelTypeCoverage
from archcalc.proof import Comparison, Difference
from archcalc.render import claims as claim_pages
from archcalc.render import coverage, sweep, taps, tokenize, training_run, verify
from archcalc.render.charts.loss import loss_curve
from archcalc.render.page import Page
from archcalc.render.text import as_csv
from archcalc.results import plain
from archcalc.run.train.result import TrainingRun, Validation
from archcalc.sources import load
from archcalc.spec.sites import sites
from archcalc.spec.workload import workload
from archcalc.text.measurement import Measurement, TextToken, Tokenization
from archcalc.text.tokenizer_training import RoundTripMismatch
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
    sizes = {"tensors": 2, "parameters": 3, "seconds": 0.5}
    wrong = Comparison(name="equal", left="ledger", right="module", is_equal=False, differences=differences, **sizes)
    right = Comparison(name="equal", left="ledger", right="transformers", is_equal=True, **sizes)
    comparisons = [wrong, right, structs.replace(wrong, name="module")]
    shown = verify.view(comparisons, verify.VerifyOptions("transformers"))
    check(shown)
    table, first, second, missing = CHINESE.within(shown).blocks
    assert [row[0] for row in table.rows] == ["equal", "equal", "module"]
    assert [row[-1] for row in table.rows] == ["不符", "一致", "不符"]
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


RUN = TrainingRun(
    name="loss", label="loss", checkpoint="runs/steps", steps=2, tokens=2, flops=2, seconds=2.0, tokens_per_second=1.0,
    loss=1.0, validations=(Validation(step=2, loss=1.0, nats=1.5, nats_per_character=None, accuracy=0.5),),
)  # fmt: skip


def test_training_runs() -> None:
    shown = training_run.view(RUN)
    check(shown)
    figures, table, model = CHINESE.within(shown).blocks
    assert list(map(str, shown.blocks[0].lines)) == [
        "exact: 2 steps, 2 tokens, 2 FLOPs",
        "measured: 2.00 s, 1 tokens/s",
    ]
    assert CHINESE.within(shown).title == "loss：训练结果"
    assert figures.lines[0].startswith("精确：")
    assert table.columns[0].heading == "训练步"
    assert model.lines == ["runs/steps: archcalc generate runs/steps --prompt …"]


def test_the_loss_curve() -> None:
    run = structs.replace(RUN, name="validation")
    for n_steps in (2, 5000):
        check(loss_curve(run, [1.0] * n_steps))
    chart = CHINESE.within(loss_curve(run, [1.0, 2.0]))
    assert chart["title"]["text"] == "validation：损失"
    sets = [value["set"] for value in chart["data"]["values"]]
    assert list(dict.fromkeys(sets)) == chart["encoding"]["color"]["scale"]["domain"]


def test_sweeps() -> None:
    found = arrays("tiny", {"n_heads": [4, 5, 7], "d_ff": [64, 128]}, figures=["params.total"], work={}, changes={})
    result = sweep_result("total", found)
    shown = sweep.view(result)
    check(shown)
    assert len(shown.blocks) == 2
    assert str(shown.blocks[1].lines[0]).endswith(str(result.refused[0].reason))
    assert CHINESE.within(shown).blocks[1].lines[0].startswith("略去 4 种，首个为 n_heads=5, d_ff=64：")


LOST = RoundTripMismatch(3, "a", "b").message


def tokenization(mismatch: Message | None, of: str | Message, tokens: tuple[TextToken, ...] = ()) -> Tokenization:
    sizes = {"vocab_size": 5, "embedding_parameters": 10, "n_tokens": 2, "characters_per_token": 2.0}
    whole = Measurement(name="nothing", **sizes, is_lossless=True, mismatch=None, tokens=())
    lossy = Measurement(name="tokens", **sizes, is_lossless=mismatch is None, mismatch=mismatch, tokens=tokens)
    return Tokenization(text="head", measured_on=of, n_characters=4, d_model=2, tokenizers=(whole, lossy))


def test_tokenizers() -> None:
    split_text = (TextToken(1, "the text", "the text"),)
    for of in (msg("the text"), "the text"):
        shown = tokenize.view(tokenization(LOST, of, split_text))
        check(shown)
        table, empty, split = CHINESE.within(shown).blocks
        assert [row[0] for row in table.rows] == ["nothing", "tokens"]
        assert [tuple(row[-2:]) for row in table.rows] == [("是", None), ("否", "3 个字符 → [UNK]；'a' → 'b'")]
        assert (empty.title, empty.lines) == ("nothing：0 个词元", ["无", ""])
        assert (split.title, split.lines) == ("tokens：1 个词元", ["│the text│", "1"])


def test_programs_read_english() -> None:
    """CSV is not translated, and JSON has no messages."""
    spec = load("gpt3")
    result = site_list(spec, sites(spec), workload(spec, seq=5))
    shown = taps.view(result, None)
    assert isinstance(shown, Page)
    assert "the sum of tokens, types and positions: the input of the first layer" in as_csv(shown)
    lossy = plain(tokenization(LOST, msg("the text")))
    for data in (plain(result), lossy):
        assert not [leaf for leaf in leaves(data) if isinstance(leaf, Message)]
    assert lossy["tokenizers"][1]["mismatch"] == "3 characters → [UNK]; 'a' → 'b'"
    assert lossy["measured_on"] == "the text"
