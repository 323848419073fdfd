"""Activations, alone and as a gate: what each keeps for its backward pass (the formulas of torch's derivatives)."""

from __future__ import annotations

from collections.abc import Callable

from archcalc.ledger.forward import saved
from archcalc.ledger.leaves import Component, Elementwise, Forward, Saved
from archcalc.ledger.tensors import Tensor
from archcalc.spec.base import Activation

Step = Callable[[str, Component, Tensor], Forward[Tensor]]


def activated(kind: Activation, name: str, component: Component, x: Tensor) -> Forward[Tensor]:
    """The activation of `x`."""
    yield Elementwise(name, x.axes, component, kind)
    return (yield from ACTIVATIONS[kind](name, component, x))


def gated(kind: Activation, name: str, component: Component, gate: Tensor, up: Tensor) -> Forward[Tensor]:
    """activation(gate) · up; the product keeps both of its sides."""
    opened = yield from activated(kind, name, component, gate)
    yield Elementwise(name, up.axes, component, "gate")
    if kind in _CLAMPED:
        yield Saved(name, up, component)
        up = up.new("clamped up + 1")
    yield from saved(name, component, opened, up)
    return up.new("gated")


def _of_result(name: str, component: Component, x: Tensor) -> Forward[Tensor]:
    """The derivative is a function of the result (relu, tanh)."""
    y = x.new("activated")
    yield Saved(name, y, component)
    return y


def _of_input(name: str, component: Component, x: Tensor) -> Forward[Tensor]:
    """The derivative is a function of the input."""
    yield Saved(name, x, component)
    return x.new("activated")


def _squared(name: str, component: Component, x: Tensor) -> Forward[Tensor]:
    y = yield from _of_result(name, component, x)
    yield Saved(name, y, component)
    return y.new("squared")


def _sigmoid_product(name: str, component: Component, x: Tensor) -> Forward[Tensor]:
    """x · σ(1.702 x): the sigmoid keeps its result, the product both sides."""
    yield from saved(name, component, x.new("sigmoid"), x)
    return x.new("activated")


def _clamped(name: str, component: Component, x: Tensor) -> Forward[Tensor]:
    yield Saved(name, x, component)
    return (yield from _sigmoid_product(name, component, x.new("clamped")))


ACTIVATIONS: dict[Activation, Step] = {
    "relu": _of_result,
    "relu2": _squared,
    "gelu": _of_input,
    "gelu_tanh": _of_input,
    "quick_gelu": _sigmoid_product,
    "silu": _of_input,
    "sigmoid": _of_result,
    "tanh": _of_result,
    "clamped_swish": _clamped,
}

# Where the gated side is clamped too (gpt-oss).
_CLAMPED: frozenset[Activation] = frozenset({"clamped_swish"})
