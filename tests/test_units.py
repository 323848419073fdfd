"""Counts printed for people."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archcalc.units import ByteUnits, bytes_text, exact, human, percent

SIZES = {"Y": 10**24, "Z": 10**21, "E": 10**18, "P": 10**15, "T": 10**12, "B": 10**9, "M": 10**6, "K": 10**3, "": 1}


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (7, "7"),
        (999, "999"),
        (1_000, "1.000 K"),
        (12_288, "12.29 K"),
        (123_456, "123.5 K"),
        (999_949, "999.9 K"),
        (999_950, "1.000 M"),
        (1_000_000, "1.000 M"),
        (124_439_808, "124.4 M"),
        (999_949_999, "999.9 M"),
        (9_999_960_000, "10.00 B"),
        (99_996_000_000, "100.0 B"),
        (174_604_259_328, "174.6 B"),
        (671_026_404_352, "671.0 B"),
        (1_000_000_000_000, "1.000 T"),
        (1_234_600_000_000_000, "1.235 P"),
    ],
)
def test_four_digits_and_a_unit(count: int, text: str):
    assert human(count) == text


@pytest.mark.parametrize(
    ("count", "units", "text"),
    [
        (0, "both", "0 B"),
        (999, "both", "999 B"),
        (1_000, "both", "1.000 kB"),
        (1_023, "GiB", "1023 B"),
        (1_024, "both", "1.024 kB (1.000 KiB)"),
        (999_949, "GB", "999.9 kB"),
        (999_950, "GB", "1.000 MB"),
        (1_023 * 2**20, "GiB", "1023 MiB"),
        (2_047 * 2**19, "GiB", "0.9995 GiB"),
        (349_208_518_656, "both", "349.2 GB (325.2 GiB)"),
        (349_208_518_656, "GB", "349.2 GB"),
        (349_208_518_656, "GiB", "325.2 GiB"),
    ],
)
def test_bytes_in_units_of_1000_and_of_1024(count: int, units: ByteUnits, text: str):
    assert bytes_text(count, units) == text


@given(st.integers(0, 10**16))
def test_the_printed_number_is_the_nearest(count: int):
    found = re.fullmatch(r"(\d+)(?:\.(\d+))?(?: ([YZEPTBMK]))?", human(count))
    assert found is not None
    whole, fraction, unit = found.groups(default="")
    printed = int(whole + fraction) * SIZES[unit]
    assert abs(printed - count * 10 ** len(fraction)) * 2 <= SIZES[unit] * 1.000001


@given(st.integers(0, 10**15), st.integers(0, 10**15))
def test_more_is_never_printed_as_less(a: int, b: int):
    def printed(count: int) -> float:
        number, _, unit = human(count).partition(" ")
        return float(number) * SIZES[unit]

    low, high = sorted((a, b))
    assert printed(low) <= printed(high)


@given(st.integers(0, 10**40))
def test_exact_loses_nothing(count: int):
    assert int(exact(count).replace(",", "")) == count


def test_thousands_are_separated():
    assert exact(174604259328) == "174,604,259,328"
    assert exact(999) == "999"


def test_shares():
    assert percent(1, 3) == "33.33 %"
    assert percent(2, 2) == "100.00 %"
    assert percent(0, 5) == "0.00 %"
    assert percent(0, 0) == "-"
