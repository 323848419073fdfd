"""Layouts: each by hand once, and what holds of all: whole, monotone, linear in what is stacked."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archcalc.errors import InputError
from archcalc.formats import gguf_types
from archcalc.formats.layouts import ByteCount, Words, bytes_of, ceil
from archcalc.formats.policy import ROLES
from archcalc.formats.weight_formats import FORMATS, Format, weight_format

BY_HAND = {
    "fp32": ((4096, 4096), (67_108_864, 0, 0)),
    "tf32": ((4096, 4096), (67_108_864, 0, 0)),
    "bf16": ((7, 3, 5), (210, 0, 0)),
    "fp8": ((4096,), (4096, 0, 0)),
    "fp8-e4m3": ((4096, 4096), (16_777_216, 4, 0)),
    "fp8-e5m2": ((8, 16, 32), (4096, 8 * 4, 0)),
    "fp8-row": ((48, 512), (24_576, 48 * 4, 0)),
    "fp8-block": ((576, 7168), (4_128_768, 5 * 56 * 4, 0)),
    "int8": ((48, 512), (24_576, 192, 48)),
    "int8-bnb": ((48, 512), (24_576, 192, 0)),
    "gptq-int4-g128": ((4096, 4096), (8_388_608, 262_144, 65_536 + 16_384)),
    "awq-int4-g128": ((4096, 4096), (8_388_608, 262_144, 65_536)),
    "int4-g128-asym": ((4096, 4096), (8_388_608, 262_144, 262_144)),
    "int4-g32-sym": ((4096, 4096), (8_388_608, 1_048_576, 0)),
    "nf4": ((576, 1536), (442_368, 13_824 + 54 * 4, 1_092)),
    "nf4-single": ((576, 1536), (442_368, 13_824 * 4, 64)),
    "mxfp4": ((32, 2880, 2880), (132_710_400, 8_294_400, 0)),
    "gguf-q4_1": ((576, 1536), (442_368, 55_296, 55_296)),
    "gguf-q4_k": ((4096, 4096), (8_388_608, 524_288, 524_288)),
    "gguf-f32": ((5,), (20, 0, 0)),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_layout_by_hand(name: str) -> None:
    shape, (payload, scales, other) = BY_HAND[name]
    assert weight_format(name).bytes_of(shape) == ByteCount(payload, scales, other)


def test_gptq_rounds_groups_up() -> None:
    # 4128 inputs in groups of 128: 32.25 groups are 33.
    found = weight_format("gptq-int4-g128").bytes_of((64, 4128))
    assert found == ByteCount(64 * 4128 // 2, 33 * 64 * 2, 33 * 64 // 2 + 4128 * 4)


def test_nf4_adds_an_eighth_of_a_bit_for_scales() -> None:
    """QLoRA, section 3: 8/64 + 32/(64 · 256) = 0.127 bits a parameter, where fp32 scales take 32/64 = 0.5."""
    n = 8192 * 8192
    double, single = weight_format("nf4").bytes_of((8192, 8192)), weight_format("nf4-single").bytes_of((8192, 8192))
    assert double.scales * 8 / n == 8 / 64 + 32 / (64 * 256)
    assert single.scales * 8 / n == 0.5


ALL = st.sampled_from(sorted(FORMATS))
BLOCKS = st.integers(1, 6)


def whole(out: int, into: int) -> tuple[int, int]:
    """A shape of whole blocks, whatever the format's are."""
    return 32 * out, 256 * into


@given(name=ALL, out=BLOCKS, into=BLOCKS)
def test_parts_make_the_total(name: str, out: int, into: int) -> None:
    found = weight_format(name).bytes_of(whole(out, into))
    assert found.payload + found.overhead == found.total
    assert found.scales + found.other == found.overhead
    assert min(found.payload, found.scales + 1, found.other + 1) > 0
    assert all(type(part) is int for part in (found.payload, found.scales, found.other, found.total))


@given(name=ALL, out=BLOCKS, into=BLOCKS, more=BLOCKS)
def test_more_elements_never_take_less(name: str, out: int, into: int, more: int) -> None:
    entry = weight_format(name)
    small = entry.bytes_of(whole(out, into))
    for larger in (whole(out + more, into), whole(out, into + more)):
        found = entry.bytes_of(larger)
        assert found.payload > small.payload
        assert (found.scales, found.other) >= (small.scales, small.other)


@given(name=ALL, n=st.integers(1, 300), m=st.integers(1, 3), out=BLOCKS, into=BLOCKS)
def test_stacked_matrices_add_up(name: str, n: int, m: int, out: int, into: int) -> None:
    entry = weight_format(name)
    shape = whole(out, into)
    assert entry.bytes_of((n, *shape)) == entry.bytes_of(shape).times(n)
    assert entry.bytes_of((m, n, *shape)) == entry.bytes_of(shape).times(n * m)


@given(count=st.integers(0, 10**30), by=st.integers(1, 10**6))
def test_ceil_is_exact(count: int, by: int) -> None:
    assert 0 <= ceil(count, by) * by - count < by


@pytest.mark.parametrize(
    ("name", "shape", "says"),
    [
        ("gguf-q4_k", (4, 320), "rows divisible by 256"),
        ("mxfp4", (4, 100), "rows divisible by 32"),
        ("gptq-int4-g128", (32, 100), "inputs divisible by 32"),
        ("gptq-int4-g128", (33, 128), "outputs divisible by 32"),
        ("awq-int4-g64", (8, 96), "inputs divisible by 64"),
        ("int4-g128-asym", (8, 96), "rows divisible by 128"),
        ("nf4", (64,), "a matrix"),
    ],
)
def test_misfits_name_the_tensor(name: str, shape: tuple[int, ...], says: str) -> None:
    with pytest.raises(InputError) as error:
        weight_format(name).bytes_of(shape, "layers.3.attn.q.weight")
    assert str(error.value) == f"layers.3.attn.q.weight: {name} needs {says}, and the tensor is {list(shape)}"


def test_unknown_format_names_the_nearest() -> None:
    with pytest.raises(InputError, match=r"no storage format 'nf5' \(did you mean 'nf4'\?\); expected fp32, "):
        weight_format("nf5")


@pytest.mark.parametrize("entry", FORMATS.values(), ids=lambda entry: entry.name)
def test_formats_are_complete(entry: Format) -> None:
    assert FORMATS[entry.name] is entry
    assert all((entry.title, entry.source, entry.checked_against, entry.policy.description, entry.policy.source))
    for role in ROLES:
        stored = entry.policy.stores(role, entry.name)
        assert stored == entry.name or stored in FORMATS
    if entry.mix:
        assert {rule.kind for rule in entry.mix.rules} | {entry.mix.kind} <= set(gguf_types.BLOCKS)


def test_misfitting_words_would_lose_bits() -> None:
    with pytest.raises(InputError):
        bytes_of(Words(bits=4, group=32, scale=2, out_by=8, in_by=32), (12, 32))


def test_formats_need_no_tensor_library() -> None:
    heavy = ("torch", "numpy", "gguf")
    code = f"import sys, archcalc.formats.weight_formats; print([m for m in {heavy} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert found.stdout.strip() == "[]"
