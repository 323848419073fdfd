"""Stored as few bits: what is lost is bounded, what is representable is not lost, and a decode stays close."""

from __future__ import annotations

from typing import Any

import gguf
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from archcalc.errors import InputError
from archcalc.formats.cache_types import CACHE_TYPES, CacheType
from archcalc.nn import build
from archcalc.nn.cache import allocate
from archcalc.nn.cache_store import PlainStore, Store, new_store
from archcalc.sources import load
from archcalc.spec import Spec
from tests.examples import examples
from tests.nn.test_nn_cache import cached, filled, inputs, new_cache, one_layer
from tests.strategies import DECODERS

INTEGERS = [name for name, kind in CACHE_TYPES.items() if kind.scale and kind.element != "fp8"]
CPU = torch.device("cpu")
WIDTH, TOKENS = 64, 5


def held(kind: CacheType, x: Tensor) -> tuple[Store, Tensor]:
    """A store that holds `x`, and what it gives back."""
    found = new_store(kind, tuple(x.shape), CPU)
    found.write(x, 0)
    return found, found.read(x.shape[-2], torch.float32)


def spread(scale: Tensor, width: int) -> Tensor:
    """Scales [..., G] as wide as the tensor."""
    return scale.float().repeat_interleave(width // scale.shape[-1], -1)


def drawn(seed: int, size: float, shift: float, *shape: int) -> Tensor:
    torch.manual_seed(seed)
    return (torch.randn(*shape) + shift) * size


@pytest.mark.parametrize("name", INTEGERS)
@given(seed=st.integers(0, 999), size=st.sampled_from((1e-3, 1.0, 300.0)), shift=st.sampled_from((0.0, 2.0, -9.0)))
def test_no_element_is_off_by_more_than_half_a_scale(name: str, seed: int, size: float, shift: float) -> None:
    x = drawn(seed, size, shift, 2, 3, TOKENS, WIDTH)
    found, back = held(CACHE_TYPES[name], x)
    scale = spread(found.tensors[1], WIDTH)
    # The half is exact in real numbers; in fp32 a quotient up to 255 is off by 2⁻¹⁶ at most.
    assert ((x - back).abs() <= scale * (0.5 + 2**-15)).all()
    assert (back - x).abs().max() > 0


@pytest.mark.parametrize("name", INTEGERS)
def test_scales_are_no_larger_than_they_must_be(name: str) -> None:
    """The range over the levels, rounded up to the scale's dtype by less than a unit in its last place."""
    kind, x = CACHE_TYPES[name], drawn(1, 1.0, 0.5, 1, 2, TOKENS, WIDTH)
    groups = x.unflatten(-1, (-1, kind.group or WIDTH))
    spans = groups.amax(-1).clamp(min=0) - groups.amin(-1).clamp(max=0) if kind.zero else groups.abs().amax(-1)
    levels = {("int8", True): 255, ("int8", False): 127, ("int4", True): 15, ("int4", False): 7}
    needed = spans / levels[kind.element, kind.zero]
    scale = held(kind, x)[0].tensors[1]
    assert (scale.float() >= needed).all()
    assert (scale.float() <= needed * (1 + torch.finfo(scale.dtype).eps)).all()


@pytest.mark.parametrize("name", INTEGERS)
@given(seed=st.integers(0, 999), power=st.integers(-6, 6))
def test_what_is_representable_comes_back_as_it_was(name: str, seed: int, power: int) -> None:
    """Whole numbers of a scale that its dtype has, both ends of the range among them in every group."""
    kind = CACHE_TYPES[name]
    top = {"int8": 127, "int4": 7}[kind.element]
    low, high = (-top, top) if not kind.zero else (-top - 1, top)
    torch.manual_seed(seed)
    x = torch.randint(low, high + 1, (2, TOKENS, WIDTH)).float()
    x[..., ::16], x[..., 1::16] = low, high
    x *= 2.0**power * 1.5
    assert torch.equal(held(kind, x)[1], x)


def test_zeros_are_held_as_zeros() -> None:
    for kind in CACHE_TYPES.values():
        assert not held(kind, torch.zeros(1, 2, WIDTH))[1].any()


@given(seed=st.integers(0, 999), size=st.sampled_from((1e-3, 1.0, 1e5)))
def test_scaled_fp8_is_off_by_half_a_step(seed: int, size: float) -> None:
    """3 bits of mantissa: 1/16 of the element, or half of the smallest step, 2⁻¹⁰ of a scale."""
    x = drawn(seed, size, 0.0, 1, TOKENS, WIDTH)
    found, back = held(CACHE_TYPES["fp8-token"], x)
    bound = torch.maximum(x.abs() / 16, spread(found.tensors[1], WIDTH) * 2**-10)
    assert ((x - back).abs() <= bound * (1 + 2**-15)).all()


def test_plain_fp8_ends_at_its_largest() -> None:
    x = torch.tensor([[[1.0, -500.0, 1e9, 448.0]]])
    assert held(CACHE_TYPES["fp8"], x)[1].tolist() == [[[1.0, -448.0, 448.0, 448.0]]]
    wide = PlainStore(torch.zeros(1, 1, 4, dtype=torch.float8_e5m2))
    wide.write(x, 0)
    assert wide.read(1, torch.float32).tolist() == [[[1.0, -512.0, 57344.0, 448.0]]]


@pytest.mark.parametrize("name", [name for name in INTEGERS if CACHE_TYPES[name].zero])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_zero_point_is_one_of_the_levels(name: str, sign: int) -> None:
    """Also where no element is near 0: the range is drawn out to it."""
    x = sign * (100 + torch.rand(1, TOKENS, WIDTH))
    zero = held(CACHE_TYPES[name], x)[0].tensors[2]
    top = {"int8": 255, "int4": 15}[CACHE_TYPES[name].element]
    assert (zero == (0 if sign > 0 else top)).all()


def test_two_int4_share_a_byte() -> None:
    x = torch.tensor([[[-7.0, 7.0, 0.0, 1.0] + [0.0] * 28]])
    payload, scale = held(CACHE_TYPES["int4-g32-sym"], x)[0].tensors
    assert scale.tolist() == [[[1.0]]]
    assert payload.dtype == torch.uint8
    assert payload.flatten().tolist() == [1 | 15 << 4, 8 | 9 << 4] + [8 | 8 << 4] * 14


@pytest.mark.parametrize(("name", "theirs"), [("int8-g32", "Q8_0"), ("int4-g32-sym", "Q4_0")])
def test_as_large_as_ggufs(name: str, theirs: str) -> None:
    kind = gguf.GGMLQuantizationType[theirs]
    x = drawn(3, 1.0, 0.0, 1, 7, 96)
    packed = gguf.quants.quantize(x.numpy(), kind)
    found, back = held(CACHE_TYPES[name], x)
    assert packed.nbytes == sum(tensor.nbytes for tensor in found.tensors)
    if theirs == "Q8_0":  # theirs rounds the scale to the nearest
        scale = spread(found.tensors[1], 96)
        assert ((torch.from_numpy(gguf.quants.dequantize(packed, kind)) - back).abs() <= scale * 1.2).all()


@pytest.mark.parametrize("kind", CACHE_TYPES.values(), ids=lambda kind: kind.name)
def test_every_way_in_and_out_is_the_same(kind: CacheType) -> None:
    """Tokens written one by one, at once or by place, read from the first on or picked."""
    x = drawn(4, 1.0, 0.0, 2, 3, TOKENS, WIDTH)
    at_once, back = held(kind, x)
    singly, placed = (new_store(kind, tuple(x.shape), CPU) for _ in range(2))
    for place in range(TOKENS):
        singly.write(x[..., place : place + 1, :], place)
    order = torch.tensor([3, 0, 4, 1, 2])
    placed.write_slots(x[..., order, :], order)
    for found in (singly, placed):
        assert torch.equal(found.read(TOKENS, torch.float32), back)
    assert torch.equal(at_once.read_slots(order, torch.float32), back[..., order, :])
    assert at_once.read(2, torch.bfloat16).dtype == torch.bfloat16
    assert torch.equal(at_once.read(2, torch.float32), back[..., :2, :])


# Whole models.

ROPE = {"position": {"kind": "rope"}}
GQA = {"kind": "gqa", "n_heads": 4, "n_kv_heads": 2, "d_head": 64} | ROPE
MLA = {
    "kind": "mla",
    "n_heads": 2,
    "kv_rank": 64,
    "d_nope": 8,
    "d_rope": 64,
    "d_v": 8,
    "norm": {"kind": "rmsnorm"},
} | ROPE
CASES = {"full": GQA, "ring": GQA | {"window": 3}, "latent": MLA}


def logits(model: Any, ids: Tensor, **more: Any) -> Tensor:
    return cached(model, ids, [], model.new_cache(*ids.shape, **more), [3, *[1] * (ids.shape[1] - 3)])


@pytest.mark.parametrize("case", CASES)
def test_a_decode_stays_close(case: str) -> None:
    """Prefill and decode: fp32 all but exact, int8 near, fp8 and int4 further off; all really rounded."""
    model = filled(build(one_layer(CASES[case]), "cpu"))
    ids = torch.randint(23, (2, 9))
    with torch.no_grad():
        expected = model(ids)
    off = {name: float((logits(model, ids, format=name) - expected).norm() / expected.norm()) for name in CACHE_TYPES}
    assert off["fp32"] < 1e-5
    assert all(1e-6 < off[name] < 0.01 for name in ("bf16", "fp16", "int8", "int8-asym", "int8-g32"))
    assert all(off["int8"] < off[name] < 0.2 for name in ("int4", "int4-g32", "int4-g64", "int4-g32-sym"))
    assert all(off["int8"] < off[name] < 0.1 for name in ("fp8", "fp8-token"))


def test_a_source_is_held_in_few_bits() -> None:
    model = filled(build(load("t5-small", {"n_layers": 2, "vocab_size": 40}), "cpu"))
    with torch.no_grad():  # T5 does not scale its scores: a softmax of large ones would say how they were rounded
        for weight in model.parameters():
            weight.mul_(0.3)
    ids, source = torch.randint(40, (1, 5)), torch.randint(40, (1, 7))
    with torch.no_grad():
        expected = model(source, ids)
    for name, most in (("fp32", 1e-5), ("int8", 0.02)):
        cache = model.new_cache(1, 5, source=7, format=name)
        found = cached(model, ids, [source], cache, [2, 1, 1, 1])
        assert float((found - expected).norm() / expected.norm()) < most, name
    assert {tensor.dtype for tensor in cache.layers[0]["cross"].tensors} == {torch.int8, torch.float32}


@examples(30)
@given(spec=DECODERS)
def test_a_plain_format_is_its_dtype(spec: Spec) -> None:
    model = filled(build(spec, "cpu"))
    ids, source = inputs(spec)
    chunks = [2, *[1] * (ids.shape[1] - 2)] if ids.shape[1] > 2 else [ids.shape[1]]
    one = cached(model, ids, source, new_cache(model, ids, source, dtype=torch.float32), chunks)
    two = cached(model, ids, source, new_cache(model, ids, source, format="fp32"), chunks)
    torch.testing.assert_close(one, two, rtol=0, atol=0, equal_nan=True)


def test_plain_formats_are_plain_stores() -> None:
    for name, kind in CACHE_TYPES.items():
        assert isinstance(new_store(kind, (1, 1, WIDTH), CPU), PlainStore) == (name in ("fp32", "fp16", "bf16", "fp8"))


def test_a_quantized_cache_on_meta() -> None:
    model = build(load("deepseek-v3"), dtype=torch.bfloat16)
    cache = model.new_cache(2, 100, format="int4-g32")
    cache.past = 99
    assert model(torch.empty(2, 1, dtype=torch.long, device="meta"), cache=cache).device.type == "meta"
    assert cache.nbytes == 2 * 100 * 61 * (512 + 64) * 5 // 8


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"format": "int4"}, "cache: int4 cannot hold a width of 3; expected even widths: two to a byte"),
        ({"format": "int8-g32"}, "cache: int8-g32 (q8_0) cannot hold a width of 3; expected widths divisible by 32"),
        ({"format": "int9"}, "cache: no cache format 'int9' (did you mean 'int8'?); expected fp32, "),
        ({"format": "int8", "dtype": torch.float32}, "cache: found torch.float32 and 'int8'; expected a dtype or a"),
    ],
)
def test_refusals(more: dict[str, Any], message: str) -> None:
    spec = one_layer({"kind": "gqa", "n_heads": 1, "d_head": 3})
    for call in (lambda: allocate(spec, 1, 2, **more), lambda: build(spec).new_cache(1, 2, **more)):
        with pytest.raises(InputError) as caught:
            call()
        assert str(caught.value).startswith(message)
