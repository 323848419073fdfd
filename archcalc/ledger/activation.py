"""Activation functions, plain and gated: what each saves for backward (by the formulas of torch's derivatives)."""

from __future__ import annotations

from collections.abc import Callable

from archcalc.ledger.algebra import ONE
from archcalc.ledger.forward_context import save
from archcalc.ledger.leaves import Component, Elementwise, Forward, Operation, Save, Weight
from archcalc.ledger.tensor import Tensor
from archcalc.spec.activation import ActivationName, AnyActivation, activation_name

ActivationFunction = Callable[[str, Component, Tensor], Forward[Tensor]]


def activation(part: AnyActivation, name: str, component: Component, x: Tensor) -> Forward[Tensor]:
    """Yield the leaves of an activation function; return its output."""
    function = activation_name(part)
    if function != "identity":
        yield Elementwise(name, x.axes, component, function)
    return (yield from ACTIVATIONS[function](name, component, x))


def gated_activation(part: AnyActivation, name: str, component: Component, gate: Tensor, up: Tensor) -> Forward[Tensor]:
    """Yield the leaves of activation(gate) · up; the product saves both factors."""
    activated = yield from activation(part, name, component, gate)
    operation, factor = _GATED_FACTORS.get(activation_name(part), ("gate", _identity))
    yield Elementwise(name, up.axes, component, operation)
    up = yield from factor(name, component, up)
    yield from save(name, component, activated, up)
    return up.new("gated")


def _save_output(name: str, component: Component, x: Tensor) -> Forward[Tensor]:
    """Save the output: the derivative is a function of it (relu, tanh)."""
    y = x.new("activated")
    yield Save(name, y, component)
    return y


def _save_input(name: str, component: Component, x: Tensor) -> Forward[Tensor]:
    """Save the input: the derivative is a function of it."""
    yield Save(name, x, component)
    return x.new("activated")


def _relu_squared(name: str, component: Component, x: Tensor) -> Forward[Tensor]:
    y = yield from _save_output(name, component, x)
    yield Save(name, y, component)
    return y.new("squared")


def _gelu_10(name: str, component: Component, x: Tensor) -> Forward[Tensor]:
    """Save the inputs of both the gelu and the clamp."""
    y = yield from _save_input(name, component, x)
    yield Save(name, y, component)
    return y.new("clamped")


def _laplace(name: str, component: Component, x: Tensor) -> Forward[Tensor]:
    """Save the scaled input of the error function."""
    yield Save(name, x.new("scaled"), component)
    return x.new("activated")


def _sqrt_softplus(name: str, component: Component, x: Tensor) -> Forward[Tensor]:
    """Save the input of the softplus and the output of the root."""
    yield Save(name, x, component)
    return (yield from _save_output(name, component, x))


def _identity(name: str, component: Component, x: Tensor) -> Forward[Tensor]:
    yield from ()
    return x


def _sigmoid_product(name: str, component: Component, x: Tensor) -> Forward[Tensor]:
    """x · σ(1.702 x): the sigmoid saves its output, the product both factors."""
    yield from save(name, component, x.new("sigmoid"), x)
    return x.new("activated")


def _clamped_swish(name: str, component: Component, x: Tensor) -> Forward[Tensor]:
    yield Save(name, x, component)
    return (yield from _sigmoid_product(name, component, x.new("clamped")))


def _capped_swish(name: str, component: Component, x: Tensor) -> Forward[Tensor]:
    """tanh and sigmoid save their outputs, the product both factors."""
    yield from save(name, component, x.new("tanh"), x.new("capped"), x.new("sigmoid"))
    return x.new("activated")


def _clamped_up(name: str, component: Component, up: Tensor) -> Forward[Tensor]:
    yield Save(name, up, component)
    return up.new("clamped up")


def _capped_up(name: str, component: Component, up: Tensor) -> Forward[Tensor]:
    yield Save(name, up.new("tanh of up"), component)
    return up.new("capped up")


def _xielu(name: str, component: Component, x: Tensor) -> Forward[Tensor]:
    """Each product saves both factors, the selection its mask; each α is one new number."""
    for alpha in ("alpha_p", "alpha_n"):
        yield Weight(f"{name}.{alpha}", (ONE,), component)
    for number in ("beta", "eps"):
        yield Weight(f"{name}.{number}", (), component, kind="buffer")
    yield from save(name, component, x.new("alpha_n", ONE), x.new("alpha_p", ONE), x)
    yield from save(name, component, x.new("expm1"), x.new("expm1 - x"), x.new("alpha_p · x"))
    yield Save(name, x.new("is positive", dtype="bool"), component)
    return x.new("activated")


ACTIVATIONS: dict[ActivationName, ActivationFunction] = {
    "relu": _save_output,
    "relu2": _relu_squared,
    "relu6": _save_input,
    "leaky_relu": _save_input,
    "gelu": _save_input,
    "gelu_tanh": _save_input,
    "gelu_10": _gelu_10,
    "quick_gelu": _sigmoid_product,
    "silu": _save_input,
    "hardswish": _save_input,
    "mish": _save_input,
    "sigmoid": _save_output,
    "tanh": _save_output,
    "laplace": _laplace,
    "sqrt_softplus": _sqrt_softplus,
    "clamped_swish": _clamped_swish,
    "capped_swish": _capped_swish,
    "identity": _identity,
    "xielu": _xielu,
}

# Activations whose gated factor is changed too (gpt-oss, Inkling 2): the operation, and what it saves and gives.
_GATED_FACTORS: dict[ActivationName, tuple[Operation, ActivationFunction]] = {
    "clamped_swish": ("clamped_gate", _clamped_up),
    "capped_swish": ("capped_gate", _capped_up),
}
