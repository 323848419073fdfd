"""Packed matrices: what they stand for, by definition, and their products."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from archcalc.nn.norm import RMSNorm
from archcalc.run.pack.fused_norm import FusedRMSNorm
from archcalc.run.pack.panel_formats import MATRICES, TABLES, Float32Panels, Int4Panels, Int8Panels, pack_matrix
from archcalc.run.pack.panels import FEW_ROWS, MANY_ROWS, Panels
from archcalc.spec import norm as spec
from tests.examples import examples

KINDS = (Float32Panels, Int8Panels, Int4Panels)
SHAPES = ((64, 64), (7, 32), (130, 96), (192, 160), (1, 32))
ROWS = (1, FEW_ROWS, FEW_ROWS + 1, MANY_ROWS)


def matrix(n_out: int, n_in: int) -> Tensor:
    """Columns and rows of very different sizes, and a low that is not minus the high."""
    torch.manual_seed(n_out + n_in)
    return (torch.randn(n_out, n_in) + 0.5) * torch.rand(n_out, 1) * torch.rand(1, n_in) ** 3


def half_steps(kind: type[Panels], weight: Tensor) -> Tensor:
    """Half of the step [O, I] that each weight's group may have: its range over the steps that there are."""
    if kind is Float32Panels:
        return torch.zeros_like(weight)
    if kind is Int8Panels:  # groups of 64 outputs, the last filled up with zeros
        filled = torch.nn.functional.pad(weight, (0, 0, 0, -len(weight) % 64)).view(-1, 64, weight.shape[1])
        step = (filled.amax(1) - filled.amin(1)) / 255
        return step.repeat_interleave(64, 0)[: len(weight)] / 2
    groups = weight.view(len(weight), -1, 32)
    step = (groups.amax(-1) - groups.amin(-1)) / 15
    return step.repeat_interleave(32, 1) / 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_weight_is_within_half_a_step(kind: type[Panels], shape: tuple[int, int]) -> None:
    weight = matrix(*shape)
    dense = kind.pack(weight).dense()
    # bfloat16's rounding of an int4 group's middle and, upwards, of its scale takes a part in 2⁷ more at most.
    slack = {Float32Panels: 0.0, Int8Panels: 1e-3, Int4Panels: 0.07}[kind]
    assert dense.shape == weight.shape
    assert bool(((dense - weight).abs() <= half_steps(kind, weight) * (1 + slack) + 1e-9).all())


@pytest.mark.parametrize(("kind", "levels"), [(Int8Panels, 256), (Int4Panels, 16)])
def test_a_group_takes_no_more_values_than_its_bits(kind: type[Panels], levels: int) -> None:
    dense = kind.pack(matrix(64, 320)).dense()
    groups = dense.T if kind is Int8Panels else dense.reshape(-1, 32)
    assert all(2 < len(group.unique()) <= levels for group in groups)


@pytest.mark.parametrize("kind", KINDS)
def test_a_group_of_equal_weights_is_kept(kind: type[Panels]) -> None:
    for value in (0.0, 0.5, -0.25):
        weight = torch.full((64, 32), value)
        assert torch.equal(kind.pack(weight).dense(), weight)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("n_rows", ROWS)
def test_a_product_is_that_of_the_dense_matrix(kind: type[Panels], shape: tuple[int, int], n_rows: int) -> None:
    panels = kind.pack(matrix(*shape))
    x = torch.randn(n_rows, shape[1])
    is_few = kind is Int4Panels and n_rows <= FEW_ROWS
    rounds = is_few or (n_rows >= MANY_ROWS and kind.product_dtype is torch.bfloat16)
    expected = (x.bfloat16() if is_few else x).double() @ panels.dense().double().T
    found = panels.product(x)
    assert found.shape == expected.shape
    assert found.dtype == (torch.bfloat16 if is_few else torch.float32)
    assert (found - expected).abs().max() <= (2**-7 if rounds else 2e-6) * expected.abs().max()


@examples(60)
@given(kind=st.sampled_from(KINDS), sizes=st.lists(st.integers(1, 150), min_size=1, max_size=4), rows=st.integers(1, 4))
def test_parts_of_a_matrix_are_its_outputs_in_the_same_memory(kind: type[Panels], sizes: list[int], rows: int) -> None:
    panels, start = kind.pack(matrix(sum(sizes), 32)), 0
    x = torch.randn(rows, 32)
    whole = panels.product(x)
    for size in sizes:
        part = panels.part(start, size)
        assert part.tensors[0].untyped_storage().data_ptr() == panels.tensors[0].untyped_storage().data_ptr()
        assert torch.equal(part.dense(), panels.dense()[start : start + size])
        torch.testing.assert_close(part.product(x), whole[:, start : start + size], rtol=1e-5, atol=1e-5)
        start += size


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_those_of_the_dense_matrix(kind: type[Panels]) -> None:
    panels, ids = kind.pack(matrix(130, 32)), torch.tensor([[0, 129], [63, 64], [31, 32]])
    assert torch.equal(panels.rows(ids), panels.dense()[ids])


def test_bits_a_weight() -> None:
    weight = matrix(128, 256)
    bits = {kind: 8 * kind.pack(weight).nbytes / weight.numel() for kind in KINDS}
    assert bits == {Float32Panels: 32, Int8Panels: 9, Int4Panels: 5}


def test_what_does_not_suit_a_format_goes_to_the_next() -> None:
    assert [type(pack_matrix(MATRICES["int4"], matrix(4, n_in))) for n_in in (64, 48, 31)] == [
        Int4Panels,
        Int8Panels,
        Int8Panels,
    ]
    assert type(pack_matrix(TABLES["int4"], matrix(4, 64))) is Int8Panels


@pytest.mark.parametrize("weight", [True, False])
@pytest.mark.parametrize("unit_offset", [True, False])
@pytest.mark.parametrize("shape", [(1, 1, 24), (2, 3, 24)])
def test_a_fused_norm_is_the_norm(weight: bool, unit_offset: bool, shape: tuple[int, ...]) -> None:

    norm = RMSNorm(spec.RMSNorm(weight=weight, unit_offset=unit_offset, eps=1e-2), 24)
    if norm.weight is not None:
        torch.nn.init.normal_(norm.weight)
    x = torch.randn(shape)
    with torch.no_grad():
        torch.testing.assert_close(FusedRMSNorm(norm)(x), norm(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("n_out", [64, 33])
def test_whole_panels_take_the_matrix_own_memory(n_out: int) -> None:
    weight = matrix(n_out, 48)
    expected, memory = Float32Panels.pack(weight.clone()), weight.data_ptr()
    found = Float32Panels.pack_in_place(weight)
    assert torch.equal(found.tensors[0], expected.tensors[0])
    assert (found.tensors[0].data_ptr() == memory) == (n_out == 64)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_rows", ROWS)
def test_inputs_may_be_what_an_int4_product_gave(kind: type[Panels], n_rows: int) -> None:
    panels, x = kind.pack(matrix(40, 64)), torch.randn(n_rows, 64).bfloat16()
    assert torch.allclose(panels.product(x).float(), panels.product(x.float()).float(), atol=0.02, rtol=0.01)
