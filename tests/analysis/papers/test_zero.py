"""A training split over devices: the parts add up to the whole, and ZeRO's table is what its formulas give."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

import archcalc
from archcalc import presets
from archcalc.analysis.optimizers import find_optimizer
from archcalc.analysis.papers import published_tables
from archcalc.analysis.papers.claims import ClaimCheck
from archcalc.analysis.papers.zero import SPLIT, STAGES, Stage, device_bytes, stage_of
from archcalc.analysis.training import PersistentBytes, find_recipe, persistent_bytes, persistent_tensors
from archcalc.errors import InputError
from archcalc.ledger.build import build
from archcalc.spec.claim import Claim

SIZES = st.integers(0, 10**13)
WHOLES = st.builds(
    PersistentBytes, weights_bytes=SIZES, gradients_bytes=SIZES, master_bytes=SIZES, optimizer_bytes=SIZES
)


@given(WHOLES, st.sampled_from(STAGES), st.integers(1, 4096))
def test_all_devices_hold_the_split_once_and_the_rest_each(whole: PersistentBytes, stage: Stage, degree: int) -> None:
    split = sum(whole.of(part) for part in SPLIT[stage])
    assert degree * device_bytes(whole, stage, degree) == split + degree * (whole.bytes - split)
    assert device_bytes(whole, stage, 1) == whole.bytes


@given(WHOLES, st.integers(1, 4096))
def test_each_stage_splits_more(whole: PersistentBytes, degree: int) -> None:
    held = [device_bytes(whole, stage, degree) for stage in STAGES]
    assert held == sorted(held, reverse=True)
    assert held[-1] == Fraction(whole.bytes, degree)


def test_the_copy_is_split_with_the_states() -> None:
    whole = PersistentBytes(weights_bytes=2, gradients_bytes=2, master_bytes=4, optimizer_bytes=8)
    assert [device_bytes(whole, stage, 4) for stage in STAGES] == [16, 7, Fraction(11, 2), 4]


def test_a_real_model_over_64_devices() -> None:
    """GPT-3: 4 bytes of each parameter on every device, 12 split."""
    ledger = build(archcalc.load("gpt3"))
    whole = persistent_bytes(persistent_tensors(ledger.rows, find_recipe("mixed").precision(), find_optimizer("adamw")))
    assert device_bytes(whole, "os", 64) == ledger.total() * (4 + Fraction(12, 64))


def test_stages_by_name() -> None:
    assert [stage_of(stage) for stage in STAGES] == list(STAGES)
    with pytest.raises(InputError, match=r"there is no stage 'os\+p'.*expected none, os, os\+g, os\+g\+p"):
        stage_of("os+p")


# --- the paper ---


def checked() -> list[ClaimCheck]:
    return published_tables.check(published_tables.load("zero"))


def test_every_verdict_is_the_one_on_record() -> None:
    assert all(one.is_as_recorded for one in checked())
    assert {one.claim.verdict for one in checked()} == {"holds", "truncates"}
    assert all(one.claim.note for one in checked() if one.verdict != "holds")


def test_table_1_is_whole() -> None:
    """Three sizes, six numbers of devices, three stages; each once."""
    cells = [tuple(one.claim.quantity.split(":")[1:]) for one in checked() if one.claim.where == "Table 1"]
    stages, sizes, devices = STAGES[1:], ("7.5 B", "128 B", "1 T"), ("1", "4", "16", "64", "256", "1024")
    assert sorted(cells) == sorted((size, stage, n) for size in sizes for stage in stages for n in devices)


@pytest.mark.parametrize(("stage", "published"), [("none", 120), ("os", 31.4), ("os+g", 16.6), ("os+g+p", 1.9)])
def test_figure_1(stage: str, published: float) -> None:
    """7.5 B parameters on 64 devices, from the paper's formulas: 16Ψ, 4Ψ + 12Ψ/64, 2Ψ + 14Ψ/64, 16Ψ/64."""
    one = next(c for c in checked() if c.claim.quantity == f"device_bytes:7.5 B:{stage}:64" and "1" in c.claim.where)
    by_hand = {"none": 16.0, "os": 4 + 12 / 64, "os+g": 2 + 14 / 64, "os+g+p": 16 / 64}[stage] * 7.5e9
    assert one.figure == by_hand
    assert round(by_hand / 1e9, 1) == published


def test_a_figure_comes_with_its_formula() -> None:
    found = {one.claim.quantity: one.accounting for one in checked()}
    assert found["device_bytes:7.5 B:none:64"] == "16·Ψ"
    assert found["device_bytes:7.5 B:os:16"] == found["device_bytes:128 B:os:16"] == "4·Ψ + 12·Ψ/16"
    assert found["device_bytes:1 T:os+g:4"] == "2·Ψ + 14·Ψ/4"
    assert found["device_bytes:1 T:os+g+p:4"] == "16·Ψ/4"


def test_a_wrong_record_is_seen() -> None:
    paper = published_tables.load("zero")
    claim = structs.replace(paper.claims[1], value="121 GB")
    assert published_tables.check(structs.replace(paper, claims=(claim,)))[0].verdict == "differs"
    assert not published_tables.check(structs.replace(paper, claims=(claim,)))[0].is_as_recorded


@pytest.mark.parametrize(
    ("quantity", "value", "problem"),
    [
        ("device_bits:7.5 B:os:64", "1 GB", r"claims\[0\]\.quantity: there is no quantity .*expected device_bytes"),
        ("device_bytes:7.5 B:os", "1 GB", r"claims\[0\]\.quantity: found '7\.5 B:os'; expected SIZE:STAGE:DEVICES"),
        ("device_bytes:7.5 B:os:0", "1 GB", r"claims\[0\]\.quantity: found"),
        ("device_bytes:7.5 B:oz:4", "1 GB", r"claims\[0\]\.quantity: there is no stage 'oz'; expected none, os,"),
        ("device_bytes:much:os:4", "1 GB", r"claims\[0\]\.quantity: found 'much'"),
        ("device_bytes:7.5 B:os:4", "1 B", r"claims\[0\]\.value: found '1 B'; expected a figure in kB, MB, GB or TB"),
        ("device_bytes:7.5 B:os:4", "1 gb", r"claims\[0\]\.value: found '1 gb'"),
    ],
)
def test_bad_claims(quantity: str, value: str, problem: str) -> None:
    claim = Claim(id="c", quantity=quantity, value=value, where="here", verdict="holds")
    with pytest.raises(InputError, match=problem):
        published_tables.check(structs.replace(published_tables.load("zero"), claims=(claim,)))


def test_no_paper_hides_a_preset() -> None:
    assert presets.papers()
    assert not set(presets.papers()) & ({*presets.names()} | {*presets.ALIASES})
    for name in presets.papers():
        paper = published_tables.load(name)
        assert paper.name == name
        assert paper.source
        assert len({claim.id for claim in paper.claims}) == len(paper.claims)
