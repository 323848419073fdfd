"""Korthikanti et al. 2022: its formulas from its terms, its table, and each term beside what the ledger keeps."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from archcalc.analysis.activations import total_bytes
from archcalc.analysis.closed_form import Rewriter
from archcalc.analysis.papers.activation_conventions import (
    EMBEDDING,
    LAYER,
    NEAREST,
    NUMBERS,
    OUTPUT,
    TABLE_2,
    ActivationConventions,
    Configuration,
    Setting,
    Term,
    activation_conventions,
    extra_bytes,
    is_of,
    layer_bytes,
    layer_sizes,
    layers_bytes,
    shares,
    terms,
)
from archcalc.errors import InputError
from archcalc.ledger.algebra import Poly
from archcalc.ledger.build import build
from archcalc.ledger.rows import Ledger
from archcalc.sources import load
from archcalc.spec import Spec
from archcalc.spec.branches import arms
from archcalc.spec.execution import Execution, Recompute
from archcalc.spec.groups import layers_of
from archcalc.spec.mixer import AnyMixer
from archcalc.spec.workload import workload
from tests.nn.saved_truth import kept
from tests.strategies import specs
from tests.test_workloads import fitting

SBH = NUMBERS["sbh"]
AS2B = NUMBERS["as²b"]
N = st.integers(1, 10**5)
SIZES = st.fixed_dictionaries({"seq": N, "batch": N, "d_model": N, "n_heads": N, "vocab_size": N})
DEVICES = st.sampled_from([1, 2, 3, 8, 64])


def by_hand(name: str, s: int, b: int, h: int, a: int, t: int) -> Fraction:
    """Table 2, as it is printed."""
    inner = {
        "no parallelism": 34 + Fraction(5 * a * s, h),
        "tensor parallel (baseline)": 10 + Fraction(24, t) + Fraction(5 * a * s, h * t),
        "tensor + sequence parallel": Fraction(34, t) + Fraction(5 * a * s, h * t),
        "tensor parallel, selective recomputation": 10 + Fraction(24, t),
        "tensor + sequence parallel, selective recomputation": Fraction(34, t),
        "full recomputation": Fraction(2),
    }
    return s * b * h * inner[name]


# --- the formulas ------------------------------------------------------------------------------------------------


@given(SIZES, DEVICES, st.sampled_from(TABLE_2))
def test_the_terms_add_up_to_table_2(sizes: dict[str, int], t: int, line: Configuration) -> None:
    s, b, h, a = (sizes[name] for name in ("seq", "batch", "d_model", "n_heads"))
    assert layer_bytes(sizes, line.at(t)) == by_hand(str(line.name), s, b, h, a, t)


def test_the_parts_are_the_papers() -> None:
    """Attention 11sbh + 5as²b, the feed-forward 19sbh, the norms 4sbh: section 4.1."""
    attention, ffn, norms = LAYER[:7], LAYER[7:11], LAYER[11:]
    assert Poly.sum(term.bytes for term in attention) == 11 * SBH + 5 * AS2B
    assert Poly.sum(term.bytes for term in ffn) == 19 * SBH
    assert Poly.sum(term.bytes for term in norms) == 4 * SBH
    assert Poly.sum(term.bytes for term in LAYER if not term.is_split) == 10 * SBH
    assert [term.formula for term in attention] == ["2sbh", "6sbh", "2as²b", "as²b", "2as²b", "2sbh", "sbh"]


@given(SIZES, DEVICES, st.booleans())
def test_laws_of_the_settings(sizes: dict[str, int], t: int, sequence: bool) -> None:
    none, selective, full = (
        Setting(tensor=t, has_sequence=sequence, recompute=how) for how in ("none", "selective", "full")
    )
    square = 5 * sizes["n_heads"] * sizes["seq"] ** 2 * sizes["batch"]
    assert layer_bytes(sizes, none) - layer_bytes(sizes, selective) == Fraction(square, t)
    assert layer_bytes(sizes, full) == 2 * sizes["seq"] * sizes["batch"] * sizes["d_model"]
    assert layer_bytes(sizes, Setting(tensor=t, has_sequence=True)) * t == layer_bytes(sizes, Setting())


@given(SIZES, st.sampled_from(("none", "selective", "full")), st.booleans())
def test_one_device_shares_nothing(sizes: dict[str, int], recompute: Recompute, sequence: bool) -> None:
    alone = Setting(recompute=recompute)
    assert layer_bytes(sizes, structs.replace(alone, tensor=1, has_sequence=sequence)) == layer_bytes(sizes, alone)


@given(SIZES, DEVICES, st.integers(1, 64), st.integers(1, 8), st.integers(1, 128))
def test_stages_and_interleaving(sizes: dict[str, int], t: int, p: int, m: int, n_layers: int) -> None:
    """Equation 5 whatever p is; 1 + (p − 1)/(pm) of it where the schedule interleaves; section 4.3's formula."""
    layers, setting = [sizes] * n_layers, Setting(tensor=t, has_sequence=True, pipeline=p)
    s, b, h, a, v = (sizes[name] for name in ("seq", "batch", "d_model", "n_heads", "vocab_size"))
    equation_5 = Fraction(s * b * h * n_layers, t) * (34 + Fraction(5 * a * s, h))
    assert layers_bytes(layers, setting) == equation_5
    interleaved = structs.replace(setting, interleaved=m)
    assert layers_bytes(layers, interleaved) == equation_5 * (1 + Fraction(p - 1, p * m))
    ends = Fraction(4, n_layers) * (1 + Fraction(v, h)) if p == 1 else 0
    extra = Fraction(s * b * h * n_layers, t) * (Fraction(p, n_layers) + ends)
    assert extra_bytes(sizes, setting) == extra


# Section 5 and table 3: 5as/h is 80 for GPT-3 and 64 for MT-NLG.
@pytest.mark.parametrize(
    ("name", "square"),
    [
        ("megatron-22b", Fraction(320, 3)),
        ("megatron-175b", Fraction(80)),
        ("gpt3", Fraction(80)),
        ("megatron-530b", Fraction(64)),
        ("megatron-1t", Fraction(64)),
    ],
)
def test_table_3s_models(name: str, square: Fraction) -> None:
    spec = load(name)
    layers = layer_sizes(spec, workload(spec, batch=4))
    assert layers_bytes(layers, Setting()) == len(layers) * 4 * 2048 * spec.d_model * (34 + square)


def test_figure_7s_shares() -> None:
    """By hand for 8 devices: GPT-3's baseline keeps 10 + 3 + 10 of a layer's sbh."""
    spec = load("megatron-175b")
    found = {str(one.configuration.name): one.of_baseline for one in shares(layer_sizes(spec, workload(spec)), 8)}
    assert found["tensor parallel (baseline)"] == 1
    assert found["tensor + sequence parallel"] == Fraction(57, 92)
    assert found["tensor parallel, selective recomputation"] == Fraction(13, 23)
    assert found["tensor + sequence parallel, selective recomputation"] == Fraction(17, 92)
    assert found["full recomputation"] == Fraction(2, 23)


# --- beside the ledger -------------------------------------------------------------------------------------------


def gpt(how: Execution) -> Ledger:
    return build(load("gpt3"), how)


def polynomial(ledger: Ledger, term: Term | None) -> Poly:
    """What the ledger's layers keep of a term, or of none, in the paper's dimensions: its bytes for all layers."""
    every = (*LAYER, EMBEDDING, *OUTPUT)
    rows = [row for row in ledger.saved_activations if "{i}" in row.path]
    own = [row for row in rows if (is_of(term, row) if term else not any(is_of(one, row) for one in every))]
    found = Rewriter(ledger).simplify(Poly.sum(row.formula for row in own))
    return found.replace(("keys",), Poly.symbol("seq"))


LAYERS, TOKENS = Poly.symbol("n_layers"), Poly.symbol("seq") * Poly.symbol("batch")


@pytest.mark.parametrize(
    "term", [term for term in LAYER if str(term.name) != "softmax"], ids=lambda term: str(term.name)
)
def test_a_gpt_layer_keeps_what_the_paper_says(term: Term) -> None:
    assert polynomial(gpt(NEAREST), term) == term.bytes * LAYERS


def test_a_gpt_layer_differs_in_its_softmax_and_its_norms_statistics() -> None:
    (softmax,) = (term for term in LAYER if str(term.name) == "softmax")
    assert polynomial(gpt(NEAREST), softmax) == 2 * softmax.bytes * LAYERS
    assert polynomial(gpt(NEAREST), None) == 16 * TOKENS * LAYERS


def test_a_gpt_layer_as_one_polynomial() -> None:
    """34sbh + 5as²b of the paper, and 2as²b + 16sb more: for any sizes, not for GPT-3's alone."""
    every = Poly.sum(polynomial(gpt(NEAREST), term) for term in (*LAYER, None))
    assert every == (34 * SBH + 7 * AS2B + 16 * TOKENS) * LAYERS


@pytest.mark.parametrize(("recompute", "layer"), [("selective", 34 * SBH + 16 * TOKENS), ("full", 2 * SBH)])
def test_a_recomputed_layer_as_one_polynomial(recompute: Recompute, layer: Poly) -> None:
    ledger = gpt(structs.replace(NEAREST, recompute=recompute))
    rows = [row.formula for row in ledger.saved_activations if "{i}" in row.path]
    found = Rewriter(ledger).simplify(Poly.sum(rows)).replace(("keys",), Poly.symbol("seq"))
    assert found == layer * LAYERS


def test_torch_keeps_the_same_polynomial_but_for_its_masks() -> None:
    """On meta, where a mask is a factor in half precision and not a byte: sbh twice and as²b once more a layer."""
    spec = load("gpt2")
    work = workload(spec, batch=3, seq=16)
    how = structs.replace(NEAREST, device="meta")
    measured = sum(one.nbytes for one in kept(spec, work, how) if one.module.startswith("layers."))
    sizes = {"seq": 16, "batch": 3, "d_model": 768, "n_heads": 12, "n_layers": 12}
    # The causal mask serves all layers; the first one's attention keeps it.
    assert measured == int((((34 + 2) * SBH + (7 + 1) * AS2B + 16 * TOKENS) * LAYERS).at(sizes)) + 16 * 16


@given(specs(), st.integers(1, 3), st.integers(1, 6), st.sampled_from(("none", "selective", "full")))
def test_every_tensor_stands_on_one_line(spec: Spec, batch: int, seq: int, recompute: Recompute) -> None:
    if spec.family != "decoder":
        return
    work, how = fitting(spec, seq, batch=batch), structs.replace(NEAREST, recompute=recompute)
    mixers = [
        arm.name
        for layer in layers_of(spec.stacks[0].stack)
        for arm in arms(layer)
        if isinstance(arm.part, AnyMixer) and arm.reads not in ("source", "nothing")
    ]
    if mixers:
        with pytest.raises(InputError) as refused:
            activation_conventions(spec, work, how)
        assert str(refused.value) == f"{mixers[0]}: the paper gives no formula for such a layer; expected attention"
        return
    found = activation_conventions(spec, work, how)
    assert sum(line.bytes for line in found.tensors) == total_bytes(build(spec, how), work)
    totals = next(one for one in found.totals if one.recompute == recompute)
    assert sum(line.bytes for line in found.tensors) == totals.bytes
    assert sum(line.paper_bytes for line in found.tensors) == totals.paper_bytes
    assert all(line.paper_formula or line.formula for line in found.tensors)
    assert all(line.difference_bytes == line.paper_bytes - line.bytes for line in found.tensors)
    assert all(line.formula.rpartition(" = ")[2] == f"{line.bytes:,}" for line in found.tensors if line.formula)


@pytest.mark.parametrize("recompute", ["none", "selective", "full"])
def test_no_two_terms_claim_the_same_tensor(recompute: Recompute) -> None:
    every = (*terms(recompute), EMBEDDING, *OUTPUT)
    for attention in ("eager", "math", "flash"):
        for row in gpt(structs.replace(NEAREST, recompute=recompute, attention=attention)).saved_activations:
            assert sum(is_of(term, row) for term in every) <= 1, row.path


def of(name: str, **how: str) -> ActivationConventions:
    spec = load(name)
    return activation_conventions(spec, workload(spec), structs.replace(NEAREST, **how))


def test_what_is_left_of_a_gpt_is_small_and_said() -> None:
    found = of("gpt3")
    left = {str(line.tensor): line for line in found.tensors if not line.paper_formula}
    assert set(left) == {
        "embed.tokens token ids", "positions places", "mask mask", "attn_norm mean", "attn_norm 1/deviation",
        "ffn_norm mean", "ffn_norm 1/deviation", "final_norm mean", "final_norm 1/deviation",
    }  # fmt: skip
    assert all(line.note for line in found.tensors if line.difference_bytes)
    assert not any(line.note for line in found.tensors if not line.difference_bytes)


@pytest.mark.parametrize("name", ["gpt3", "llama-3-8b", "deepseek-v3", "mixtral-8x7b", "gemma-2-9b", "tiny"])
@pytest.mark.parametrize("attention", ["eager", "math", "flash"])
@pytest.mark.parametrize("recompute", ["none", "selective", "full"])
def test_every_difference_is_explained(name: str, attention: str, recompute: str) -> None:
    found = of(name, attention=attention, recompute=recompute)
    assert [line.tensor for line in found.tensors if line.difference_bytes and not line.note] == []


def test_a_gated_model_is_beyond_the_papers_terms() -> None:
    lines = {str(line.tensor): line for line in of("llama-3-8b").tensors}
    assert lines["input of GeLU"].bytes != lines["input of GeLU"].paper_bytes
    assert lines["softmax's dropout mask"].bytes == 0 < lines["softmax's dropout mask"].paper_bytes


def test_others_than_decoders_are_refused() -> None:
    with pytest.raises(InputError, match="expected a decoder"):
        of("bert-base")
