"""Activations, alone and as a gate: what each keeps for its backward pass (the formulas of torch's derivatives)."""

from __future__ import annotations

from collections.abc import Callable

from archcalc.ledger.algebra import ONE
from archcalc.ledger.forward import saved
from archcalc.ledger.leaves import Component, Elementwise, Forward, Saved, Weight
from archcalc.ledger.tensors import Tensor
from archcalc.spec.activation import ActivationName, AnyActivation, name_of

Step = Callable[[str, Component, Tensor], Forward[Tensor]]


def activated(part: AnyActivation, name: str, component: Component, x: Tensor) -> Forward[Tensor]:
    """The activation of `x`."""
    function = name_of(part)
    if function != "identity":
        yield Elementwise(name, x.axes, component, function)
    return (yield from ACTIVATIONS[function](name, component, x))


def gated(part: AnyActivation, name: str, component: Component, gate: Tensor, up: Tensor) -> Forward[Tensor]:
    """activation(gate) · up; the product keeps both of its sides."""
    opened = yield from activated(part, name, component, gate)
    is_clamped = name_of(part) in _CLAMPED
    yield Elementwise(name, up.axes, component, "clamped_gate" if is_clamped else "gate")
    if is_clamped:
        yield Saved(name, up, component)
        up = up.new("clamped up")
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


def _gelu_10(name: str, component: Component, x: Tensor) -> Forward[Tensor]:
    """Both the gelu and the clamp of it keep their inputs."""
    y = yield from _of_input(name, component, x)
    yield Saved(name, y, component)
    return y.new("clamped")


def _laplace(name: str, component: Component, x: Tensor) -> Forward[Tensor]:
    """The error function keeps its input, which is not that of the whole."""
    yield Saved(name, x.new("scaled"), component)
    return x.new("activated")


def _sqrt_softplus(name: str, component: Component, x: Tensor) -> Forward[Tensor]:
    """The softplus keeps its input, the root its result."""
    yield Saved(name, x, component)
    return (yield from _of_result(name, component, x))


def _identity(name: str, component: Component, x: Tensor) -> Forward[Tensor]:
    yield from ()
    return x


def _sigmoid_product(name: str, component: Component, x: Tensor) -> Forward[Tensor]:
    """x · σ(1.702 x): the sigmoid keeps its result, the product both sides."""
    yield from saved(name, component, x.new("sigmoid"), x)
    return x.new("activated")


def _clamped(name: str, component: Component, x: Tensor) -> Forward[Tensor]:
    yield Saved(name, x, component)
    return (yield from _sigmoid_product(name, component, x.new("clamped")))


def _xielu(name: str, component: Component, x: Tensor) -> Forward[Tensor]:
    """Written out: each product keeps both sides, the choice where x is positive; each α is one new number."""
    for alpha in ("alpha_p", "alpha_n"):
        yield Weight(f"{name}.{alpha}", (ONE,), component)
    for number in ("beta", "eps"):
        yield Weight(f"{name}.{number}", (), component, kind="buffer")
    yield from saved(name, component, x.new("alpha_n", ONE), x.new("alpha_p", ONE), x)
    yield from saved(name, component, x.new("expm1"), x.new("expm1 - x"), x.new("alpha_p · x"))
    yield Saved(name, x.new("is positive", dtype="bool"), component)
    return x.new("activated")


ACTIVATIONS: dict[ActivationName, Step] = {
    "relu": _of_result,
    "relu2": _squared,
    "relu6": _of_input,
    "leaky_relu": _of_input,
    "gelu": _of_input,
    "gelu_tanh": _of_input,
    "gelu_10": _gelu_10,
    "quick_gelu": _sigmoid_product,
    "silu": _of_input,
    "hardswish": _of_input,
    "mish": _of_input,
    "sigmoid": _of_result,
    "tanh": _of_result,
    "laplace": _laplace,
    "sqrt_softplus": _sqrt_softplus,
    "clamped_swish": _clamped,
    "identity": _identity,
    "xielu": _xielu,
}

# Where the gated side is clamped too (gpt-oss).
_CLAMPED: frozenset[ActivationName] = frozenset({"clamped_swish"})
