"""What training keeps is what a real model, its gradients, an fp32 copy and a real optimiser take."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import archcalc
from archcalc.analysis import optimisers, params
from archcalc.analysis.training import (
    PARTS,
    RECIPES,
    Precision,
    Totals,
    by_component,
    formulas,
    kept,
    recipe,
    totals,
)
from archcalc.errors import InputError
from archcalc.formats.element_types import element_bytes
from archcalc.ledger.build import build
from archcalc.nn.build import build as build_module
from archcalc.spec.model import Spec
from tests import strategies
from tests.analysis.optimiser_truth import in_model, sum_of

TORCH = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
some = settings(max_examples=30)
PRECISIONS = [one.precision(dtype) for one in RECIPES.values() for dtype in one.dtypes]
each = pytest.mark.parametrize("name", ["gpt3", "deepseek-v3", "t5-small", "mixtral-8x7b", "bert-base"])


def nbytes(tensors: list[torch.Tensor]) -> int:
    """Each storage once."""
    return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}.values())


def real(spec: Spec, precision: Precision, optimiser: str) -> Totals:
    """The same parts of a model that is really there."""
    model = build_module(spec, device="cpu", dtype=TORCH[precision.weights])
    trained = [p for p in model.parameters() if p.requires_grad]
    copies = [p.detach().to(TORCH[precision.master]) for p in trained] if precision.master else []
    states = sum_of(list(in_model(spec, optimiser, element_bytes(precision.stepped)).values()))
    return Totals(
        weights=nbytes([tensor.detach() for tensor in model.state_dict().values()]),
        gradients=nbytes([torch.zeros_like(p, dtype=TORCH[precision.gradients]) for p in trained]),
        master=nbytes(copies),
        optimiser=states.total,
        steps=states.steps,
    )


@some
@given(strategies.specs(), st.sampled_from(PRECISIONS), st.sampled_from(["adamw", "adamw8bit", "muon", "sgd-momentum"]))
def test_any_spec_as_it_is_trained(spec: Spec, precision: Precision, optimiser: str) -> None:
    lines = kept(build(spec).rows, precision, optimisers.named(optimiser))
    assert totals(lines) == real(spec, precision, optimiser)


def backward(model: nn.Module) -> int:
    """Bytes of the gradients that a backward pass leaves."""
    logits: torch.Tensor = model(torch.zeros(1, 8, dtype=torch.int64))
    logits.float().sum().backward()
    return nbytes([p.grad for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize("dtype", ["bf16", "fp32"])
def test_gradients_of_a_backward_pass(dtype: str) -> None:
    spec = archcalc.load("tiny")
    lines = kept(build(spec).rows, recipe("pure").precision(dtype), optimisers.named("sgd"))
    assert totals(lines).gradients == backward(build_module(spec, device="cpu", dtype=TORCH[dtype]))


def test_gradients_under_autocast_are_as_wide_as_the_weights() -> None:
    spec = archcalc.load("tiny")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = backward(build_module(spec, device="cpu"))
    assert totals(kept(build(spec).rows, recipe("autocast").precision(), optimisers.named("sgd"))).gradients == found


# Bytes a parameter with AdamW, as the sources of the recipes have them.
PUBLISHED = {
    ("mixed", "bf16"): 16,
    ("megatron", "bf16"): 18,
    ("pure", "bf16"): 8,
    ("pure", "fp32"): 16,
    ("autocast", "fp32"): 16,
    ("mixed", "fp16"): 16,
    ("pure", "fp16"): 8,
    ("megatron", "fp16"): 18,
}


@pytest.mark.parametrize(("name", "dtype"), PUBLISHED)
def test_bytes_a_parameter(name: str, dtype: str) -> None:
    ledger = build(archcalc.load("gpt3"))
    found = totals(kept(ledger.rows, recipe(name).precision(dtype), optimisers.named("adamw")))
    assert Fraction(found.total, ledger.total()) == PUBLISHED[name, dtype]


@each
def test_components_add_up(name: str) -> None:
    ledger = build(archcalc.load(name))
    lines = kept(ledger.rows, recipe().precision(), optimisers.named("adafactor"))
    whole, parts = totals(lines), by_component(lines)
    for part in (*PARTS, "steps", "total"):
        assert sum(getattr(own, part) for own in parts.values()) == getattr(whole, part)
    counts = params.summary(ledger)
    assert {key: own.weights for key, own in parts.items() if key != "buffers"} == {
        key: 2 * count for key, count in counts["by_component"].items() if count
    }
    assert ("buffers" in parts) == bool(counts["buffers"])


def test_what_is_not_trained_is_only_stored() -> None:
    """DeepSeek-V3's correction biases are buffers; t5's none."""
    lines = kept(build(archcalc.load("deepseek-v3")).rows, recipe().precision(), optimisers.named("adamw"))
    buffers = by_component(lines)["buffers"]
    assert buffers == Totals(weights=58 * 256 * 2, gradients=0, master=0, optimiser=0)


@some
@given(strategies.specs(), st.sampled_from(PRECISIONS), st.sampled_from(list(optimisers.OPTIMISERS)))
def test_formulas_give_the_bytes(spec: Spec, precision: Precision, name: str) -> None:
    ledger, optimiser = build(spec), optimisers.named(name)
    found = totals(kept(ledger.rows, precision, optimiser))
    symbols = formulas(ledger.rows, precision, optimiser)
    assert tuple(symbols) == PARTS
    for part, poly in symbols.items():
        assert poly is None or poly.at(ledger.sizes) == getattr(found, part)


def test_what_has_a_formula() -> None:
    rows, precision = build(archcalc.load("gpt3")).rows, recipe().precision()
    assert all(formulas(rows, precision, optimisers.named("adafactor")).values())
    assert formulas(rows, precision, optimisers.named("adamw4bit"))["optimiser"] is None


@pytest.mark.parametrize(
    ("dtype", "name"), [(None, "mixed"), ("bf16", "mixed"), ("fp16", "mixed"), ("fp32", "pure"), ("int8", "pure")]
)
def test_the_recipe_of_a_dtype(dtype: str | None, name: str) -> None:
    assert recipe(None, dtype).name == name


def test_bad_recipes() -> None:
    with pytest.raises(InputError, match=r"no recipe 'mixt' \(did you mean 'mixed'\?\); allowed: mixed, megatron"):
        recipe("mixt")
    with pytest.raises(InputError, match="dtype: the recipe 'mixed' has no weights in 'fp32'; allowed: bf16, fp16"):
        recipe("mixed").precision("fp32")


def test_every_recipe_says_where_it_is_from() -> None:
    for name, one in RECIPES.items():
        assert one.name == name
        assert one.title
        assert one.source
