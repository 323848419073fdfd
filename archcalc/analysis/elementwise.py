"""What is computed number by number in a forward pass: softmax, norms, activations, rotary positions. Modelled.

Each addition, multiplication, comparison, exponential, logarithm, root, tanh and erf counts as one operation on one
number. What a machine really does depends on its kernels, so these stand on a line of their own beside the exact
matmuls.
"""

from __future__ import annotations

import msgspec

from archcalc.ledger.leaves import Pointwise
from archcalc.ledger.rows import ElementwiseRow, Ledger
from archcalc.spec.workload import Workload
from archcalc.words import Message, in_context, msg

# Operations for each number, and what they are.
COSTS: dict[Pointwise, tuple[int, Message]] = {
    "softmax": (5, msg("maximum, difference, exponential, sum, quotient")),
    "layernorm": (7, msg("mean, difference, square, mean, quotient, weight, bias")),
    "rmsnorm": (4, msg("square, mean, product, weight")),
    "rope": (3, msg("two products, sum")),
    "gate": (1, msg("product")),
    "product": (1, msg("product")),
    "clamp": (2, msg("minimum, maximum")),
    "softplus": (3, msg("exponential, sum, logarithm")),
    "clamped_gate": (4, msg("minimum, maximum, sum, product")),
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
    "identity": (0, in_context("operation", "nothing")),
    "xielu": (12, msg("comparison, minimum, exponential, two differences, five products, two sums")),
}


class ElementwiseFlops(msgspec.Struct, frozen=True):
    """One elementwise operation's cost over all its layers."""

    row: ElementwiseRow
    forward: int


def by_operation(ledger: Ledger, work: Workload) -> list[ElementwiseFlops]:
    """Every elementwise operation's cost. The ledger must be one of a training step."""
    sizes = ledger.at(work)
    return [
        ElementwiseFlops(row, COSTS[row.elementwise.operation][0] * row.numbers(sizes)) for row in ledger.elementwise
    ]


def by_kind(found: list[ElementwiseFlops]) -> dict[Pointwise, int]:
    """The sums over the operations of each kind."""
    sums: dict[Pointwise, int] = {}
    for one in found:
        kind = one.row.elementwise.operation
        sums[kind] = sums.get(kind, 0) + one.forward
    return sums
