"""Cache formats as data: complete, named after what they are, and sure of what they refuse."""

from __future__ import annotations

import subprocess
import sys

import pytest

from archcalc.analysis.memory import DTYPES
from archcalc.errors import InputError
from archcalc.formats.cache_types import CACHE_TYPES, CacheType, cache_type
from archcalc.formats.element_types import element_bytes


@pytest.mark.parametrize("entry", CACHE_TYPES.values(), ids=lambda entry: entry.name)
def test_types_are_complete(entry: CacheType) -> None:
    assert cache_type(entry.name) is entry
    assert all((entry.title, entry.source, entry.checked_against))
    assert entry.name.startswith(entry.element)
    assert (f"-g{entry.group}" in entry.name) == bool(entry.group)
    assert bool(entry.scale) or not (entry.zero or entry.group)
    assert ("zero point" in entry.title) == entry.zero
    if entry.scale:
        assert f"{entry.scale} scale" in entry.title


def test_every_element_can_be_chosen() -> None:
    assert {entry.element for entry in CACHE_TYPES.values()} == {"fp32", "fp16", "bf16", "fp8", "int8", "int4"}


def test_plain_types_are_the_dtypes_of_a_report() -> None:
    plain = {entry.name: element_bytes(entry.element) for entry in CACHE_TYPES.values() if not entry.scale}
    assert plain == {"fp32": 4, "fp16": 2, "bf16": 2, "fp8": 1}
    assert tuple(plain) == DTYPES


@pytest.mark.parametrize(
    ("name", "called", "width", "allowed"),
    [
        ("int8-g32", "int8-g32 (q8_0)", 80, "widths divisible by 32"),
        ("int4-g64", "int4-g64", 96, "widths divisible by 64"),
        ("q4_0", "int4-g32-sym (q4_0)", 16, "widths divisible by 32"),
        ("int4", "int4", 13, "even widths: two to a byte"),
    ],
)
def test_widths_that_do_not_fit(name: str, called: str, width: int, allowed: str) -> None:
    with pytest.raises(InputError) as caught:
        cache_type(name).check(width, "layers.*.attn.keys")
    assert str(caught.value) == f"layers.*.attn.keys: {called} cannot hold a width of {width}; expected {allowed}"


@pytest.mark.parametrize(("name", "width"), [("int8-g32", 96), ("int4", 2), ("int8", 13), ("int8-asym", 1), ("fp8", 7)])
def test_widths_that_fit(name: str, width: int) -> None:
    cache_type(name).check(width, "x")


def test_an_unknown_type_names_the_nearest() -> None:
    with pytest.raises(
        InputError, match=r"cache: no cache format 'int4-g31' \(did you mean 'int4-g32'\?\); expected fp"
    ):
        cache_type("int4-g31", "cache")


def test_types_need_no_tensor_library() -> None:
    code = (
        "import sys, archcalc.formats.cache_types; print([m for m in ('torch', 'numpy', 'gguf') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert found.stdout.strip() == "[]"
