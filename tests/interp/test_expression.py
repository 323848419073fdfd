"""What a formula prints means what the formula is."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archcalc.interp.trace.expression import Call, Expression, Module, Parameter, Value, call, nodes
from tests.interp.recompute import OPERATORS

SIZES = {"a": 3, "b.c": 7, "layers.1.d": -2}
LEAVES = st.sampled_from([Value(name) for name in SIZES]) | st.integers(-9, 9)
TREES = st.recursive(
    LEAVES, lambda inner: st.builds(call, st.sampled_from(sorted(OPERATORS)) | st.just("max"), inner, inner)
)


def value(node: Any) -> int:
    """The value of a tree whose one function is max."""
    match node:
        case Value(name):
            return SIZES[name]
        case Call(function, (first, second)):
            found: int = OPERATORS.get(function, max)(value(first), value(second))
            return found
    return int(node)


@given(TREES)
def test_what_is_printed_is_what_is_meant(tree: Any) -> None:
    text = str(tree)
    for printed, python in {"·": "*", "−": "-", "b.c": "b_c", "layers.1.d": "d"}.items():
        text = text.replace(printed, python)
    assert eval(text, {"max": max}, {"a": 3, "b_c": 7, "d": -2}) == value(tree)  # noqa: S307


X = Value("layers.1.x")


@pytest.mark.parametrize(
    ("formula", "text"),
    [
        (X + 2 + Value("y"), "layers.1.x + 2 + y"),
        ((X + Value("y")) * 0.5, "(layers.1.x + y) · 0.5"),
        (X * Value("y") * 3.0, "layers.1.x · y · 3"),
        (X - Value("y") * Value("z"), "layers.1.x − y · z"),
        (X - (Value("y") + 1), "layers.1.x − (y + 1)"),
        (call("place", X, -1), "place(layers.1.x, -1)"),
        (call("over_rms", X, 1e-12), "over_rms(layers.1.x, 1e-12)"),
        (X * 64**-0.35, "layers.1.x · 0.2332582"),
        (call("linear", X, Module("layers.1.q"), Parameter("b")), "linear(layers.1.x, layers.1.q, b)"),
        (call("capped", X + 2, 30.0), "capped(layers.1.x + 2, 30)"),
    ],
)
def test_formulas_are_printed(formula: Expression, text: str) -> None:
    assert str(formula) == text


def test_what_stands_in_a_formula_is_in_the_order_of_its_names() -> None:
    formula = call("linear", X * 2 + Value("y"), Module("m"))
    assert [str(node) for node in nodes(formula)] == [
        "linear(layers.1.x · 2 + y, m)", "layers.1.x · 2 + y", "layers.1.x · 2", "layers.1.x", "y", "m"
    ]  # fmt: skip
    assert list(nodes(None)) == []
