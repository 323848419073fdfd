"""Korthikanti et al. 2022's figures: what they are by its formulas, by the ledger, and on record."""

from __future__ import annotations

from fractions import Fraction

import pytest
from msgspec import structs

from archcalc import presets
from archcalc.analysis.papers.activation_claims import EARLY_STOP, GPU, LEDGER, PAPER, QUANTITIES, figures
from archcalc.analysis.papers.claims import ACCOUNTINGS, FACTS, NAMED, PLAIN, ClaimCheck, check
from archcalc.errors import InputError
from archcalc.ledger.build import build
from archcalc.sources import load
from archcalc.spec import Spec
from archcalc.spec.about import About
from archcalc.spec.claim import Claim

# Table 3: heads, width, layers; sequences and devices of a step, and table 5's seconds, MFU and HFU.
TABLES = {
    "megatron-22b": (64, 6144, 48, 4, 8, "1.10", "41.5 %", "43.7 %"),
    "megatron-175b": (96, 12_288, 96, 64, 64, "13.75", "51.4 %", "52.8 %"),
    "megatron-530b": (128, 20_480, 105, 280, 280, "37.83", "56.0 %", "57.0 %"),
    "megatron-1t": (160, 25_600, 128, 512, 512, "71.49", "56.3 %", "57.0 %"),
}
each_model = pytest.mark.parametrize("name", TABLES)


def checked(spec: Spec, quantity: str, value: str, accounting: str) -> ClaimCheck:
    claim = Claim(id="x", quantity=quantity, value=value, where="here", verdict="holds", accounting=accounting)
    (found,) = check(structs.replace(spec, about=About(claims=(claim,))), build(spec))
    return found


@each_model
def test_the_presets_are_table_3s(name: str) -> None:
    spec = load(name)
    assert spec.decoder is not None
    (run,) = spec.decoder.runs
    (layer,) = run.pattern
    assert layer.attention is not None
    assert layer.ffn is not None
    assert (layer.attention.n_heads, spec.d_model, spec.decoder.n_layers) == TABLES[name][:3]
    assert (layer.ffn.d_ff, spec.vocab_size, spec.n_ctx) == (4 * spec.d_model, 51_200, 2048)


@each_model
def test_table_5_is_on_record(name: str) -> None:
    _, _, _, sequences, devices, seconds, mfu, hfu = TABLES[name]
    claims = {claim.quantity: claim.value for claim in load(name).about.claims if claim.where == "Table 5"}
    inputs = f"{sequences}:{devices}:{seconds}:312"
    assert claims == {f"mfu:{inputs}": mfu, f"hfu:{inputs}": hfu}


@each_model
def test_utilization_by_the_papers_equations(name: str) -> None:
    """Equations 7 and 8 by hand, and the same with 2/9 for 1/3, as an author has agreed it should be."""
    _, h, n_layers, sequences, devices, seconds, _, _ = TABLES[name]
    inputs = f"{sequences}:{devices}:{seconds}:312"

    def percent(per_h: Fraction) -> Fraction:
        flops = 72 * sequences * n_layers * 2048 * h**2 * (1 + per_h * 2048 / h + Fraction(51_200, 12 * h * n_layers))
        return 100 * flops / (devices * Fraction(seconds) * 312 * 10**12)

    assert figures(f"mfu:{inputs}", load(name)) == {LEDGER: percent(Fraction(1, 6))}
    assert figures(f"hfu:{inputs}", load(name)) == {PAPER: percent(Fraction(1, 3)), LEDGER: percent(Fraction(2, 9))}


@each_model
def test_recomputed_products(name: str) -> None:
    """4Bs²h a layer once more, of 72Bsh² + 12Bs²h a layer and the logits' 6Bshv; early stop leaves out the second."""
    _, h, n_layers, *_ = TABLES[name]
    s, v = 2048, 51_200
    step = n_layers * (72 * s * h**2 + 12 * s**2 * h) + 6 * s * h * v
    once = Fraction(100 * 4 * n_layers * s**2 * h, step)
    assert figures("recompute_flops", load(name)) == {PAPER: 3 * once, LEDGER: once, EARLY_STOP: once / 2}


@each_model
def test_activations_beside_a_layers_states(name: str) -> None:
    a, h, n_layers, *_ = TABLES[name]
    square, spec = Fraction(a * 2048, h), load(name)
    assert figures("square_activations", spec) == {PAPER: 5 * square, GPU: 7 * square}
    assert figures("linear_activations", spec) == {PAPER: 34, GPU: 34 + Fraction(16, h)}
    assert figures("saved:none", spec) == {PAPER: 0, GPU: 0}
    assert figures("saved:selective", spec)[PAPER] == 100 * 5 * square / (34 + 5 * square)
    assert figures("saved:full", spec)[PAPER] == 100 * (32 + 5 * square) / (34 + 5 * square)
    extra = (1 + 4 * (1 + Fraction(51_200, h))) / n_layers
    assert figures("extra_activations", spec) == {PAPER: 100 * extra / (extra + 34 + 5 * square)}


def test_shares_of_the_baseline() -> None:
    spec = load("megatron-175b")
    assert figures("of_baseline:full recomputation:8", spec) == {PAPER: Fraction(200, 23)}
    line = "tensor + sequence parallel, selective recomputation"
    assert figures(f"times_less:{line}:8", spec) == {PAPER: Fraction(92, 17)}
    assert figures(f"times_less:{line}:1", spec) == {PAPER: Fraction(114, 34)}


def test_published_figures() -> None:
    """What section 5 prints of GPT-3 holds by its formulas; its overhead holds in no other way of counting."""
    spec = load("megatron-175b")
    assert checked(spec, "saved:selective", "70 %", PAPER).verdict == "holds"
    overhead = checked(spec, "recompute_flops", "2.7 %", LEDGER)
    assert (overhead.verdict, overhead.holds_in, overhead.figure_in_unit) == ("differs", (PAPER,), "0.898 %")
    assert checked(spec, "square_activations", "80", GPU).figure_in_unit == "112.00"


def test_a_real_models_dropout_decides_what_the_ledger_has() -> None:
    """Llama has none: of its two squares a byte less than GPT's seven is kept, whatever the paper's formula says."""
    spec = load("llama-3-8b")
    square = Fraction(32 * 2048, 4096)
    assert figures("square_activations", spec) == {PAPER: 5 * square, GPU: 6 * square}


@pytest.mark.parametrize(
    ("quantity", "value", "accounting", "problem"),
    [
        (
            "saved:selectively",
            "70 %",
            PAPER,
            r"claims\[0\]\.quantity: there is no recomputation .*did you mean 'selecti",
        ),
        ("saved:selective", "70", PAPER, r"claims\[0\]\.value: found '70' for .*expected a figure in %"),
        ("square_activations", "80 %", PAPER, r"claims\[0\]\.value: found '80 %'"),
        (
            "saved:selective",
            "70 %",
            "stored once",
            r"claims\[0\]\.accounting: .*no accounting 'stored once'; expected K",
        ),
        (
            "mfu:1:2:3",
            "5 %",
            LEDGER,
            r"claims\[0\]\.quantity: found '1:2:3'; expected SEQUENCES:DEVICES:SECONDS:TERA",
        ),
        ("mfu:1:2:0:4", "5 %", LEDGER, r"claims\[0\]\.quantity: found '1:2:0:4'"),
        ("mfu:1:2:x:4", "5 %", LEDGER, r"claims\[0\]\.quantity: found '1:2:x:4'"),
        ("hfu:1:2:1.2.3:4", "5 %", LEDGER, r"claims\[0\]\.quantity: found '1:2:1\.2\.3:4'"),
        (f"hfu:1:2:{'9' * 5000}:4", "5 %", LEDGER, r"claims\[0\]\.quantity: found"),
        (
            "of_baseline:full recomputation:0",
            "5 %",
            PAPER,
            r"claims\[0\]\.quantity: found .*expected LINE:DEVICES",
        ),
        ("of_baseline:full recomputation", "5 %", PAPER, r"claims\[0\]\.quantity: found"),
        ("of_baseline:full recomputation:1.5", "5 %", PAPER, r"claims\[0\]\.quantity: found"),
        ("times_less:full recomputing:8", "5", PAPER, r"there is no line .*did you mean 'full recomputation'"),
    ],
)
def test_bad_claims(quantity: str, value: str, accounting: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        checked(load("megatron-175b"), quantity, value, accounting)


def test_others_than_decoders_are_refused() -> None:
    with pytest.raises(InputError, match=r"claims\[0\]\.quantity: bert-base is an encoder; expected a decoder"):
        checked(load("bert-base"), "saved:selective", "70 %", PAPER)


def test_names_stand_for_one_quantity_and_one_accounting() -> None:
    assert not {*QUANTITIES} & ({*PLAIN} | {*NAMED} | {*FACTS})
    assert not {PAPER, GPU, LEDGER, EARLY_STOP} & {*ACCOUNTINGS}
    used = {claim.quantity.partition(":")[0] for name in presets.names() for claim in load(name).about.claims}
    assert {*QUANTITIES} <= used
