"""What the ledger says that an optimizer keeps is what it keeps, parameter by parameter, after a real step."""

from __future__ import annotations

import math
from functools import cache

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import archcalc
from archcalc.analysis.optimizers import OPTIMIZERS, StateBytes, find_optimizer
from archcalc.errors import InputError
from archcalc.ledger.algebra import Poly
from archcalc.ledger.build import build
from archcalc.ledger.leaves import Weight
from archcalc.ledger.rows import Ledger, WeightRow
from archcalc.sources import load
from archcalc.spec.model import Spec
from tests import strategies
from tests.analysis.optimizer_truth import DTYPES, PLAIN, Make, in_model, measured, stepped
from tests.examples import examples

SMALL = {
    "tiny": {"n_layers": 1, "vocab_size": 300},
    "t5-small": {"n_layers": 1, "vocab_size": 300},
    "mixtral-8x7b": {"n_layers": 2, "d_model": 64, "d_expert": 48, "vocab_size": 300, "n_heads": 8, "n_kv_heads": 2},
    "deepseek-v3": {
        "vocab_size": 300, "d_model": 64, "d_ff": 128, "d_expert": 32, "d_shared": 32, "n_experts": 16, "n_heads": 4,
        "n_groups": 8, "kv_rank": 32, "q_rank": 48, "d_nope": 16, "d_rope": 8, "d_v": 16, "n_layers": 4,
    },
}  # fmt: skip


@cache
def small(name: str) -> Spec:
    """A preset made small, all of its parts kept."""
    return load(name, SMALL[name])


def in_ledger(ledger: Ledger, name: str, element: int) -> dict[str, StateBytes]:
    """By parameter's name, what the ledger says: a row's figure in equal parts."""
    found = {}
    for row in ledger.rows:
        if row.kind == "trainable":
            of_all = find_optimizer(name).state_bytes(row, element)
            for path in row.names():
                found[path] = parted(of_all, row.layers)
    return found


def parted(of_all: StateBytes, n: int) -> StateBytes:
    one = StateBytes(of_all.values // n, of_all.scales // n, of_all.tables // n, of_all.steps // n)
    assert one.times(n) == of_all
    return one


some = examples(30)
REAL = [name for name in OPTIMIZERS if name != "adamw-fp32"]


@pytest.mark.parametrize("element", DTYPES)
@pytest.mark.parametrize("optimizer", REAL)
@pytest.mark.parametrize("name", SMALL)
def test_a_preset_as_it_is_stepped(name: str, optimizer: str, element: int) -> None:
    spec = small(name)
    assert in_ledger(build(spec), optimizer, element) == in_model(spec, optimizer, element)


@some
@given(strategies.specs(), st.sampled_from(REAL), st.sampled_from(list(DTYPES)))
def test_any_spec_as_it_is_stepped(spec: Spec, optimizer: str, element: int) -> None:
    assert in_ledger(build(spec), optimizer, element) == in_model(spec, optimizer, element)


@some
@given(strategies.specs(), st.sampled_from([2, 4]))
def test_fp32_states_are_those_of_an_fp32_copy(spec: Spec, element: int) -> None:
    """Apex's, which steps on the weights as they are and counts its steps once."""
    ledger, copied = build(spec), in_model(spec, "adamw", 4)
    found = in_ledger(ledger, "adamw-fp32", element)
    assert {path: one.total for path, one in found.items()} == {path: one.total for path, one in copied.items()}
    assert all(one.steps == 0 for one in found.values())


def alone(shape: tuple[int, ...]) -> WeightRow:
    """A row of one matrix (or vector, or stack) of this shape."""
    names = [f"axis_{i}" for i in range(len(shape))]
    sizes = dict(zip(names, shape, strict=True))
    weight = Weight("weight", tuple(map(Poly.symbol, names)), "ffn")
    return WeightRow("some.weight", weight, "", (), Poly.constant(1), sizes)


# Products of these stand on either side of 4,096, in whole blocks of 128 and 256 and not.
EDGES = st.sampled_from([1, 2, 3, 31, 32, 33, 64, 128])


@some
@given(
    st.lists(EDGES, min_size=1, max_size=3).map(tuple).filter(lambda shape: math.prod(shape) < 20_000),
    st.sampled_from([name for name in REAL if not name.startswith("muon")]),
    st.sampled_from(list(DTYPES)),
)
def test_any_shape_as_it_is_stepped(shape: tuple[int, ...], optimizer: str, element: int) -> None:
    """Tensors on either side of what is quantized: 4,096 elements, whole blocks."""
    parameter = nn.Parameter(torch.zeros(shape, dtype=DTYPES[element]))
    assert find_optimizer(optimizer).state_bytes(alone(shape), element) == stepped(PLAIN[optimizer], [parameter])[0]


@pytest.mark.parametrize("optimizer", ["adamw8bit", "adamw4bit", "adamwfp8"])
@pytest.mark.parametrize(
    ("shape", "quantized"),
    [((4096,), True), ((4095,), False), ((4097,), False), ((3968,), False), ((64, 64), True), ((4352,), True)],
)
def test_what_torchao_quantizes(optimizer: str, shape: tuple[int, ...], quantized: bool) -> None:
    make: Make = PLAIN[optimizer]
    real = stepped(make, [nn.Parameter(torch.zeros(shape))])[0]
    assert bool(real.scales) == quantized
    assert find_optimizer(optimizer).state_bytes(alone(shape), 4) == real


def test_blocks_by_hand() -> None:
    """[64, 64] in 8 bits: two moments of 4,096 codes, 16 scales and 256 levels of 4 bytes."""
    found = find_optimizer("adamw8bit").state_bytes(alone((64, 64)), 4)
    assert found == StateBytes(values=2 * 4096, scales=2 * 16 * 4, tables=2 * 256 * 4, steps=4)
    assert found.total == 2 * 5_184


def test_llama_by_hand() -> None:
    query = next(row for row in build(archcalc.load("llama-3-8b")).rows if row.path == "layers.{i}.attn.q.weight")
    assert find_optimizer("adamw").state_bytes(query, 4) == StateBytes(values=4_294_967_296, steps=4 * 32)


@some
@given(strategies.specs(), st.sampled_from(list(OPTIMIZERS)), st.sampled_from(list(DTYPES)))
def test_a_formula_gives_the_bytes(spec: Spec, optimizer: str, element: int) -> None:
    for row in build(spec).rows:
        formula = find_optimizer(optimizer).formula(row, element)
        if formula is None:
            assert optimizer in ("adamw8bit", "adamw4bit", "adamwfp8")
        else:
            assert formula.at(row.sizes) == find_optimizer(optimizer).state_bytes(row, element).total


def test_what_is_not_trained_has_no_state() -> None:
    rows = [row for row in build(archcalc.load("deepseek-v3")).rows if row.kind == "buffer"]
    assert rows
    for row in rows:
        assert all(one.state_bytes(row, 4) == StateBytes() for one in OPTIMIZERS.values())


def test_every_optimizer_says_where_it_is_from() -> None:
    for name, one in OPTIMIZERS.items():
        assert one.name == name
        assert one.title and one.source and one.checked_against  # noqa: PT018


def test_an_unknown_optimizer() -> None:
    with pytest.raises(InputError, match=r"no optimizer 'adamw8bits' \(did you mean 'adamw8bit'\?\)"):
        find_optimizer("adamw8bits")


def test_measuring_counts_every_tensor() -> None:
    state = {"step": torch.tensor(0.0), "exp_avg": torch.zeros(3, 5), "extra": torch.zeros(2, dtype=torch.bfloat16)}
    assert measured(state) == StateBytes(values=64, steps=4)
