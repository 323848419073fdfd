"""What training keeps is what a real model, its gradients, an fp32 copy and a real optimizer take."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import archcalc
from archcalc.analysis import params
from archcalc.analysis.optimizers import OPTIMIZERS, find_optimizer
from archcalc.analysis.training import (
    PARTS,
    RECIPES,
    PersistentBytes,
    Precision,
    by_component,
    find_recipe,
    formulas,
    persistent_bytes,
    persistent_tensors,
)
from archcalc.analysis.training_memory import ComponentTraining, TrainingTensor, training_memory
from archcalc.analysis.training_setup import training_setup
from archcalc.errors import InputError
from archcalc.formats.element_types import element_bytes
from archcalc.ledger.build import build
from archcalc.nn.build import build as build_module
from archcalc.results import columns, fields_of, plain
from archcalc.spec.model import Spec
from archcalc.spec.workload import workload
from tests import strategies
from tests.analysis.optimizer_truth import in_model, sum_of
from tests.examples import examples

TORCH = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
some = examples(30)
PRECISIONS = [one.precision(dtype) for one in RECIPES.values() for dtype in one.dtypes]
each = pytest.mark.parametrize("name", ["gpt3", "deepseek-v3", "t5-small", "mixtral-8x7b", "bert-base"])


def nbytes(tensors: list[torch.Tensor]) -> int:
    """Each storage once."""
    return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}.values())


def real(spec: Spec, precision: Precision, optimizer: str) -> PersistentBytes:
    """The same parts of a model that is really there."""
    model = build_module(spec, device="cpu", dtype=TORCH[precision.weights])
    trained = [p for p in model.parameters() if p.requires_grad]
    copies = [p.detach().to(TORCH[precision.master]) for p in trained] if precision.master else []
    states = sum_of(list(in_model(spec, optimizer, element_bytes(precision.updated)).values()))
    return PersistentBytes(
        weights_bytes=nbytes([tensor.detach() for tensor in model.state_dict().values()]),
        gradients_bytes=nbytes([torch.zeros_like(p, dtype=TORCH[precision.gradients]) for p in trained]),
        master_bytes=nbytes(copies),
        optimizer_bytes=states.total,
        step_counters_bytes=states.steps,
    )


@some
@given(strategies.specs(), st.sampled_from(PRECISIONS), st.sampled_from(["adamw", "adamw8bit", "muon", "sgd-momentum"]))
def test_any_spec_as_it_is_trained(spec: Spec, precision: Precision, optimizer: str) -> None:
    lines = persistent_tensors(build(spec).rows, precision, find_optimizer(optimizer))
    assert persistent_bytes(lines) == real(spec, precision, optimizer)


def backward(model: nn.Module) -> int:
    """Bytes of the gradients that a backward pass leaves."""
    logits: torch.Tensor = model(torch.zeros(1, 8, dtype=torch.int64))
    logits.float().sum().backward()
    return nbytes([p.grad for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize("dtype", ["bf16", "fp32"])
def test_gradients_of_a_backward_pass(dtype: str) -> None:
    spec = archcalc.load("tiny")
    lines = persistent_tensors(build(spec).rows, find_recipe("pure").precision(dtype), find_optimizer("sgd"))
    assert persistent_bytes(lines).gradients_bytes == backward(build_module(spec, device="cpu", dtype=TORCH[dtype]))


def test_gradients_under_autocast_are_as_wide_as_the_weights() -> None:
    spec = archcalc.load("tiny")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = backward(build_module(spec, device="cpu"))
    assert (
        persistent_bytes(
            persistent_tensors(build(spec).rows, find_recipe("autocast").precision(), find_optimizer("sgd"))
        ).gradients_bytes
        == found
    )


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
    found = persistent_bytes(
        persistent_tensors(ledger.rows, find_recipe(name).precision(dtype), find_optimizer("adamw"))
    )
    assert Fraction(found.bytes, ledger.total()) == PUBLISHED[name, dtype]


@each
def test_components_add_up(name: str) -> None:
    ledger = build(archcalc.load(name))
    lines = persistent_tensors(ledger.rows, find_recipe().precision(), find_optimizer("adafactor"))
    whole, parts = persistent_bytes(lines), by_component(lines)
    for field in (*(f"{part}_bytes" for part in PARTS), "step_counters_bytes", "bytes"):
        assert sum(getattr(own, field) for own in parts.values()) == getattr(whole, field)
    counts = params.summary(ledger)
    assert {key: own.weights_bytes for key, own in parts.items() if key != "buffers"} == {
        key: 2 * count for key, count in counts["by_component"].items() if count
    }
    assert ("buffers" in parts) == bool(counts["buffers"])


def test_what_is_not_trained_is_only_stored() -> None:
    """DeepSeek-V3's correction biases are buffers; t5's none."""
    lines = persistent_tensors(
        build(archcalc.load("deepseek-v3")).rows, find_recipe().precision(), find_optimizer("adamw")
    )
    buffers = by_component(lines)["buffers"]
    assert buffers == PersistentBytes(weights_bytes=58 * 256 * 2, gradients_bytes=0, master_bytes=0, optimizer_bytes=0)


@some
@given(strategies.specs(), st.sampled_from(PRECISIONS), st.sampled_from(list(OPTIMIZERS)))
def test_formulas_give_the_bytes(spec: Spec, precision: Precision, name: str) -> None:
    ledger, optimizer = build(spec), find_optimizer(name)
    found = persistent_bytes(persistent_tensors(ledger.rows, precision, optimizer))
    symbols = formulas(ledger.rows, precision, optimizer)
    assert tuple(symbols) == PARTS
    for part, poly in symbols.items():
        assert poly is None or poly.at(ledger.sizes) == found.of(part)


def test_what_has_a_formula() -> None:
    rows, precision = build(archcalc.load("gpt3")).rows, find_recipe().precision()
    assert all(formulas(rows, precision, find_optimizer("adafactor")).values())
    assert formulas(rows, precision, find_optimizer("adamw4bit"))["optimizer"] is None


@pytest.mark.parametrize(
    ("dtype", "name"), [(None, "mixed"), ("bf16", "mixed"), ("fp16", "mixed"), ("fp32", "pure"), ("int8", "pure")]
)
def test_the_recipe_of_a_dtype(dtype: str | None, name: str) -> None:
    assert find_recipe(None, dtype).name == name


def test_bad_recipes() -> None:
    with pytest.raises(InputError, match=r"no recipe 'mixt' \(did you mean 'mixed'\?\); expected mixed, megatron"):
        find_recipe("mixt")
    with pytest.raises(InputError, match="dtype: the recipe 'mixed' has no weights in 'fp32'; expected bf16, fp16"):
        find_recipe("mixed").precision("fp32")


def test_every_recipe_says_where_it_is_from() -> None:
    for name, one in RECIPES.items():
        assert one.name == name
        assert one.title
        assert one.source


def test_a_row_begins_with_what_it_is_about() -> None:
    """The fields of a record come before those of its base, in all formats."""
    assert [*fields_of(ComponentTraining)][:2] == ["component", "weights_bytes"]
    assert [*fields_of(TrainingTensor)][:6] == ["path", "group", "component", "tensor_kind", "layers", "weights_bytes"]
    spec = archcalc.load("tiny")
    result = training_memory(training_setup(spec, workload(spec)))
    for row in (result.components[0], result.weights[0]):
        assert [*plain(row)] == [*columns(row)] == [*fields_of(type(row))]
