from __future__ import annotations

import subprocess
import sys
from fractions import Fraction

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archcalc import presets
from archcalc.analysis.papers.claims import (
    ACCOUNTINGS,
    EXPONENTS,
    ClaimCheck,
    PrintedFigure,
    check,
    in_unit,
    parse,
    verdict_of,
)
from archcalc.analysis.params import summary
from archcalc.errors import InputError
from archcalc.ledger.build import build
from archcalc.sources import load
from archcalc.spec.about import About
from archcalc.spec.claim import Claim, Verdict

# --- what is printed ---


@pytest.mark.parametrize(
    ("value", "printed", "step"),
    [
        ("174.6 B", PrintedFigure(1746, 1, "B"), 10**8),
        ("175.0 B", PrintedFigure(1750, 1, "B"), 10**8),
        ("151 M", PrintedFigure(151, 0, "M"), 10**6),
        ("151M", PrintedFigure(151, 0, "M"), 10**6),
        ("0.7 %", PrintedFigure(7, 1, "%"), Fraction(1, 10)),
        ("12288", PrintedFigure(12288, 0, ""), 1),
        ("175,181,291,520", PrintedFigure(175_181_291_520, 0, ""), 1),
        ("175,255.8 M", PrintedFigure(1752558, 1, "M"), 10**5),
        ("123.653376 M", PrintedFigure(123653376, 6, "M"), 1),
        ("1.6 T", PrintedFigure(16, 1, "T"), 10**11),
        ("128 K", PrintedFigure(128, 0, "K"), 1000),
        ("31.4 GB", PrintedFigure(314, 1, "GB"), 10**8),
        ("269 MB", PrintedFigure(269, 0, "MB"), 10**6),
        ("0", PrintedFigure(0, 0, ""), 1),
    ],
)
def test_parse(value: str, printed: PrintedFigure, step: int | Fraction) -> None:
    assert parse(value) == printed
    assert parse(value).step == step


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "many",
        "174.6 Gb",
        "174.6 GiB",
        "174.6 KB",
        "174.6 b",
        "174.6  B",
        "174.6 B ",
        "-3",
        "1e9",
        "1.2.3",
        ".5 B",
        "5. B",
        "1,23",
        "12345,678",
        "1,234,56 M",
        "١٥١ M",
        "151 M\n",
        "0x10",
        "9" * 5000,
    ],
)
def test_what_is_no_figure_is_refused(value: str) -> None:
    with pytest.raises(InputError, match="a figure as printed"):
        parse(value)


@given(st.integers(0, 10**20), st.integers(0, 6), st.sampled_from([*EXPONENTS]))
def test_parse_reads_what_is_written(digits: int, decimals: int, unit: str) -> None:
    whole, rest = divmod(digits, 10**decimals)
    text = f"{whole:,}" + (f".{rest:0{decimals}d}" if decimals else "") + (f" {unit}" if unit else "")
    assert parse(text) == PrintedFigure(digits, decimals, unit)


# --- rounding ---


@pytest.mark.parametrize(
    ("figure", "value", "verdict"),
    [
        (174_604_259_328, "174.6 B", "holds"),
        (174_604_259_328, "175 B", "holds"),
        (174_604_259_328, "174 B", "truncates"),
        (174_604_259_328, "174.7 B", "truncates"),
        (174_604_259_328, "175.0 B", "differs"),
        (174_604_259_328, "174,604,259,328", "holds"),
        (174_604_259_328, "174,604,259,327", "differs"),
        (3_353_032_704, "3.3 B", "truncates"),
        (3_353_032_704, "3.4 B", "holds"),
        (3_353_032_704, "3.5 B", "differs"),
        (7_241_732_096, "7.3 B", "truncates"),
        # A tie may be rounded to even or up.
        (1_250_000_000, "1.2 B", "holds"),
        (1_250_000_000, "1.3 B", "holds"),
        (1_250_000_001, "1.2 B", "truncates"),
        (1_249_999_999, "1.3 B", "truncates"),
        (1_000_000, "1 M", "holds"),
        (1_000_000, "2 M", "differs"),
        (1_000_000, "0 M", "differs"),
        (12_952_938_780, "13.0 B", "holds"),
        (Fraction(2, 3), "0.67 %", "holds"),
        (Fraction(2, 3), "0.66 %", "truncates"),
        (Fraction(2, 3), "0.65 %", "differs"),
    ],
)
def test_judged(figure: int | Fraction, value: str, verdict: Verdict) -> None:
    assert verdict_of(figure, parse(value)) == verdict


@given(st.integers(0, 10**15), st.sampled_from(["0 M", "0.0 M", "0.00 B", "0"]))
def test_a_figure_printed_at_its_own_rounding_holds(figure: int, form: str) -> None:
    printed = parse(form)
    rounded = PrintedFigure(round(figure / printed.step), printed.decimals, printed.unit)
    assert verdict_of(figure, rounded) == "holds"


@pytest.mark.parametrize(
    ("figure", "value", "shown"),
    [
        (174_604_259_328, "175 B", "174.60 B"),
        (174_604_259_328, "174.6 B", "174.604 B"),
        (617_558_016, "617,558,016", "617,558,016"),
        (123_653_376, "123.653376 M", "123.653376 M"),
        (1_572_864, "151 M", "1.57 M"),
        (2_000, "2 K", "2.00 K"),
        (999_999_999, "1 B", "1.00 B"),
        (1_557_611_200, "1542 M", "1,557.61 M"),
        (Fraction(7, 20), "0.7 %", "0.350 %"),
        (Fraction("1e-05"), "1", "0.00"),
        (0, "0", "0"),
    ],
)
def test_in_unit(figure: int | Fraction, value: str, shown: str) -> None:
    assert in_unit(figure, parse(value)) == shown


# --- a model's claims ---


def checked(model: str, quantity: str, value: str, accounting: str = "stored once") -> ClaimCheck:
    claim = Claim(id="x", quantity=quantity, value=value, where="here", verdict="holds", accounting=accounting)
    spec = msgspec.structs.replace(load(model), about=About(claims=(claim,)))
    (found,) = check(spec, build(spec))
    return found


def figure(model: str, quantity: str, accounting: str = "stored once") -> int | Fraction:
    return checked(model, quantity, "1 %" if quantity.startswith("share") else "1", accounting).figure


# GPT-3 by hand: d = 12288, V = 50257, 96 layers.
D, V, L, T = 12_288, 50_257, 96, 2048
MATRICES = L * 12 * D * D
BIASES = L * 9 * D  # q, k, v, out, up (4 wide), down
NORM_SCALES = (2 * L + 1) * D


@pytest.mark.parametrize(
    ("accounting", "total"),
    [
        ("stored once", 174_604_259_328),
        ("head counted apart", 175_221_817_344),
        ("weights alone", V * D + MATRICES),
        ("weights alone, head apart", 175_181_291_520),
        ("without biases", (V + T) * D + MATRICES + NORM_SCALES),
        ("without positions", 174_604_259_328 - T * D),
        ("without head", 174_604_259_328),
        ("without input embedding", 174_604_259_328),
        ("without embedding and head", 174_604_259_328 - V * D),
    ],
)
def test_every_accounting_of_gpt3(accounting: str, total: int) -> None:
    assert figure("gpt3-175b", "total", accounting) == total


def test_every_accounting_has_a_worked_number_above() -> None:
    (mark,) = test_every_accounting_of_gpt3.pytestmark  # type: ignore[attr-defined]
    assert [accounting for accounting, _ in mark.args[1]] == list(ACCOUNTINGS)


def test_the_embedding_is_0_35_percent_stored_once_and_0_70_with_the_head_apart() -> None:
    once = checked("gpt3-175b", "share:embedding", "0.35 %")
    apart = checked("gpt3-175b", "share:embedding", "0.70 %", "head counted apart")
    alone = checked("gpt3-175b", "share:embedding", "0.71 %", "weights alone, head apart")
    assert (once.verdict, once.figure) == ("holds", Fraction(100 * V * D, 174_604_259_328))
    assert (apart.verdict, apart.figure) == ("holds", Fraction(200 * V * D, 175_221_817_344))
    assert alone.figure == Fraction(100 * 1_235_116_032, 175_181_291_520)
    assert "head counted apart" not in once.holds_in


def test_a_claim_that_fails_says_in_which_accountings_it_would_hold() -> None:
    found = checked("gpt3-175b", "share:embedding", "0.7 %")
    assert found.verdict == "differs"
    assert found.holds_in == ("head counted apart", "weights alone, head apart")


def test_the_shares_of_an_accounting_sum_to_100() -> None:
    components = ("embedding", "position", "attention", "ffn", "mixer", "norm", "head", "other")
    for accounting in ACCOUNTINGS:
        assert sum(figure("gpt3-175b", f"share:{name}", accounting) for name in components) == 100


def test_parts_of_gpt3() -> None:
    assert figure("gpt3-175b", "component:attention", "weights alone") == 57_982_058_496
    assert figure("gpt3-175b", "component:ffn", "weights alone") == 115_964_116_992
    assert figure("gpt3-175b", "component:attention") == 57_982_058_496 + L * 4 * D
    assert figure("gpt3-175b", "embedding") == 617_558_016
    assert figure("gpt3-175b", "embedding_and_head") == 617_558_016
    assert figure("gpt3-175b", "embedding_and_head", "head counted apart") == 1_235_116_032
    assert figure("gpt3-175b", "component:head") == 0
    assert figure("gpt3-175b", "component:head", "head counted apart") == 617_558_016
    assert figure("gpt3-175b", "untied") == 175_221_817_344
    assert figure("gpt3-175b", "layers") == MATRICES + BIASES + 4 * L * D


def test_tensors_of_gpt3() -> None:
    assert figure("gpt3-175b", "tensor:attn.q.weight") == D * D == 150_994_944
    assert figure("gpt3-175b", "tensor:layers.{i}.attn.q.weight") == D * D
    assert figure("gpt3-175b", "rows:attn.q.weight") == 14_495_514_624
    assert figure("gpt3-175b", "per_head:attn.q.weight") == D * 128
    assert figure("gpt3-175b", "tensor:head.weight") == V * D


def test_a_name_may_gather_layers_of_several_kinds_or_both_stacks() -> None:
    assert figure("gpt-oss-20b", "rows:experts.down.weight") == 24 * 32 * 2880 * 2880
    assert figure("t5-small", "rows:attn.q.weight") == 12 * 512 * 512
    assert figure("t5-small", "rows:encoder.layers.{i}.attn.q.weight") == 6 * 512 * 512
    assert figure("llama-3-8b", "per_head:attn.k.weight") == 4096 * 128


def test_fields() -> None:
    attention = "field:decoder.runs.0.pattern.0.attention"
    assert figure("gpt3-175b", f"{attention}.n_heads") == 96
    assert figure("gpt3-175b", f"{attention}.d_head") == 128  # left out in the file, filled in by resolving
    assert figure("gpt3-175b", f"{attention}.n_kv_heads") == 96
    assert figure("deepseek-v3", "field:decoder.runs.1.pattern.0.ffn.scale") == Fraction(5, 2)
    assert checked("deepseek-v3", "field:decoder.runs.1.pattern.0.ffn.scale", "2.5").verdict == "holds"
    assert checked("gpt3-1.3b", f"{attention}.n_heads", "24").verdict == "differs"


def test_a_mixtures_active_parameters() -> None:
    assert figure("gpt-oss-20b", "active") == 4_187_440_704
    assert figure("gpt-oss-20b", "active", "without input embedding") == 3_608_307_264
    assert figure("gpt-oss-20b", "active", "without embedding and head") == 3_029_173_824


def test_buffers_are_in_no_accounting() -> None:
    assert figure("deepseek-v3", "component:ffn", "without biases") == figure("deepseek-v3", "component:ffn")


def test_frozen_parameters_are_counted_and_not_trained() -> None:
    assert figure("transformer-big", "total") == 215_293_952
    assert figure("transformer-big", "trainable") == 214_245_376


@pytest.mark.parametrize("name", presets.names())
def test_quantities_agree_with_the_summary(name: str) -> None:
    found = summary(build(load(name)))
    assert figure(name, "total") == found["total"]
    assert figure(name, "total", "head counted apart") == figure(name, "untied") == found["untied"]
    assert figure(name, "active") == found["active"]
    assert figure(name, "active", "without input embedding") == found["active_without_input_embedding"]
    assert figure(name, "active", "without embedding and head") == found["active_without_embedding_and_head"]
    assert figure(name, "non_embedding") == found["non_embedding"]
    assert figure(name, "trainable") == found["trainable"]
    for component, total in found["by_component"].items():
        assert figure(name, f"component:{component}") == total


# --- the record ---


@pytest.mark.parametrize(
    ("value", "recorded", "agrees"),
    [("175 B", "holds", True), ("175 B", "differs", False), ("174 B", "truncates", True), ("173 B", "holds", False)],
)
def test_a_wrong_record_is_noticed(value: str, recorded: Verdict, agrees: bool) -> None:
    claim = Claim(id="x", quantity="total", value=value, where="here", verdict=recorded)
    spec = msgspec.structs.replace(load("gpt3-175b"), about=About(claims=(claim,)))
    assert check(spec, build(spec))[0].is_as_recorded is agrees


def test_claims_follow_changes_to_the_spec() -> None:
    spec = load("gpt3-175b", {"n_layers": 95})
    assert not all(one.is_as_recorded for one in check(spec, build(spec)))


def test_no_claims_no_work() -> None:
    spec = load("tiny")
    assert check(spec, build(spec)) == []


@pytest.mark.parametrize(
    ("quantity", "value", "accounting", "where", "says"),
    [
        ("totl", "1", "stored once", "about.claims[0].quantity", "did you mean 'total'"),
        ("", "1", "stored once", "about.claims[0].quantity", "there is no quantity ''"),
        ("total:", "1", "stored once", "about.claims[0].quantity", "there is no quantity"),
        ("component", "1", "stored once", "about.claims[0].quantity", "component:NAME"),
        ("component:atention", "1", "stored once", "about.claims[0].quantity", "did you mean 'attention'"),
        ("share:all", "1 %", "stored once", "about.claims[0].quantity", "there is no component 'all'"),
        ("tensor:attn.w.weight", "1", "stored once", "about.claims[0].quantity", "there is no tensor 'attn.w.weight'"),
        ("tensor:weight", "1", "stored once", "about.claims[0].quantity", "a longer name"),
        ("per_head:ffn.up.weight", "1", "stored once", "about.claims[0].quantity", "not divided among heads"),
        ("field:d_modle", "1", "stored once", "about.claims[0].quantity", "did you mean 'd_model'"),
        ("field:decoder.runs.7", "1", "stored once", "about.claims[0].quantity", "there is no field"),
        ("field:decoder.runs.²", "1", "stored once", "about.claims[0].quantity", "there is no field"),
        ("field:decoder", "1", "stored once", "about.claims[0].quantity", "a field that is a number"),
        ("field:head.tied", "1", "stored once", "about.claims[0].quantity", "a field that is a number"),
        ("field:name", "1", "stored once", "about.claims[0].quantity", "a field that is a number"),
        ("field:__class__", "1", "stored once", "about.claims[0].quantity", "there is no field"),
        ("total", "1", "storde once", "about.claims[0].accounting", "did you mean 'stored once'"),
        ("field:d_model", "1", "weights alone", "about.claims[0].accounting", "the same in all"),
        ("total", "174.6 GB", "stored once", "about.claims[0].value", "found '174.6 GB'"),
        ("total", "1 %", "stored once", "about.claims[0].value", "without unit"),
        ("share:ffn", "66", "stored once", "about.claims[0].value", "a figure in %"),
    ],
)
def test_what_cannot_be_checked_is_refused_with_its_path(
    quantity: str, value: str, accounting: str, where: str, says: str
) -> None:
    with pytest.raises(InputError) as error:
        checked("gpt3-175b", quantity, value, accounting)
    assert error.value.where == where
    assert says in str(error.value)


def test_checking_needs_no_heavy_library() -> None:
    code = "import sys, archcalc.analysis.papers.claims\n"
    code += "print({'torch', 'pandas', 'numpy', 'transformers'} & sys.modules.keys())"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert found.stdout.strip() == "set()"
