"""Elementwise operations of a forward pass: softmax, norms, activations, rotary positions. Modeled.

Each addition, multiplication, comparison, exponential, logarithm, root, tanh and erf counts as one operation per
element. The real cost depends on the kernels, so these are listed apart from the exact matrix products.
"""

from __future__ import annotations

from typing import Annotated

from archcalc.analysis.value_names import OPERATION_NAMES
from archcalc.ledger.leaves import Pointwise
from archcalc.ledger.rows import Ledger
from archcalc.results import Row, Sureness, count, data, number, text
from archcalc.spec.workload import Workload
from archcalc.words import Message, in_context, msg

# Operations per element, and what they are.
COSTS: dict[Pointwise, tuple[int, Message]] = {
    "softmax": (5, msg("maximum, difference, exponential, sum, quotient")),
    "layernorm": (7, msg("mean, difference, square, mean, quotient, weight, bias")),
    "rmsnorm": (4, msg("square, mean, product, weight")),
    "affine": (2, msg("product, sum")),
    "rope": (3, msg("two products, sum")),
    "gate": (1, msg("product")),
    "product": (1, msg("product")),
    "clamp": (2, msg("minimum, maximum")),
    "softplus": (3, msg("exponential, sum, logarithm")),
    "scan": (5, msg("product, exponential, two products, sum")),
    "clamped_gate": (4, msg("minimum, maximum, sum, product")),
    "capped_gate": (4, msg("quotient, tanh, two products")),
    "length_clip": (3, msg("square, sum, product")),
    "softcap": (3, msg("quotient, tanh, product")),
    "relu": (1, msg("maximum")),
    "relu2": (2, msg("maximum, square")),
    "relu6": (2, msg("maximum, minimum")),
    "leaky_relu": (2, msg("comparison, product")),
    "gelu": (5, msg("quotient, erf, sum, two products")),
    "gelu_tanh": (9, msg("cube, two products, sum, tanh, sum, two products")),
    "gelu_10": (7, msg("quotient, erf, sum, two products, maximum, minimum")),
    "quick_gelu": (5, msg("product, exponential, sum, quotient, product")),
    "silu": (5, msg("negative, exponential, sum, quotient, product")),
    "hardswish": (5, msg("sum, maximum, minimum, product, quotient")),
    "mish": (5, msg("exponential, sum, logarithm, tanh, product")),
    "sigmoid": (4, msg("negative, exponential, sum, quotient")),
    "tanh": (1, msg("tanh")),
    "laplace": (5, msg("difference, quotient, erf, sum, product")),
    "sqrt_softplus": (4, msg("exponential, sum, logarithm, root")),
    "clamped_swish": (6, msg("minimum, product, exponential, sum, quotient, product")),
    "capped_swish": (8, msg("quotient, tanh, product, negative, exponential, sum, quotient, product")),
    "identity": (0, in_context("operation", "nothing")),
    "xielu": (12, msg("comparison, minimum, exponential, two differences, five products, two sums")),
}


class ElementwiseFlops(Row, frozen=True, kw_only=True):
    """The cost of one kind of elementwise operation over the whole model."""

    operation: Annotated[Pointwise, text(msg("operation"), names=OPERATION_NAMES)]
    forward: Annotated[int, count(msg("forward"), rounded="count")]
    per_element: Annotated[int, number(msg("per element"), "count")]
    steps: Annotated[Message, text(in_context("operation", "steps"))]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))] = "modeled"


def elementwise_flops(ledger: Ledger, work: Workload) -> list[ElementwiseFlops]:
    """Return the cost of each kind of elementwise operation. The ledger must be one of a training step."""
    sizes, elements = ledger.at(work), dict[Pointwise, int]()
    for row in ledger.elementwise:
        operation = row.elementwise.operation
        elements[operation] = elements.get(operation, 0) + row.numbers(sizes)
    return [
        ElementwiseFlops(
            operation=operation,
            forward=COSTS[operation][0] * n,
            per_element=COSTS[operation][0],
            steps=COSTS[operation][1],
        )
        for operation, n in elements.items()
    ]
