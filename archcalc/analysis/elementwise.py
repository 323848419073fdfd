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

# Operations for each number, and what they are.
COSTS: dict[Pointwise, tuple[int, str]] = {
    "softmax": (5, "maximum, difference, exponential, sum, quotient"),
    "layernorm": (7, "mean, difference, square, mean, quotient, weight, bias"),
    "rmsnorm": (4, "square, mean, product, weight"),
    "rope": (3, "two products, sum"),
    "gate": (1, "product"),
    "product": (1, "product"),
    "clamp": (2, "minimum, maximum"),
    "softplus": (3, "exponential, sum, logarithm"),
    "clamped_gate": (4, "minimum, maximum, sum, product"),
    "softcap": (3, "quotient, tanh, product"),
    "relu": (1, "maximum"),
    "relu2": (2, "maximum, square"),
    "relu6": (2, "maximum, minimum"),
    "leaky_relu": (2, "comparison, product"),
    "gelu": (5, "quotient, erf, sum, two products"),
    "gelu_tanh": (9, "cube, two products, sum, tanh, sum, two products"),
    "gelu_10": (7, "quotient, erf, sum, two products, maximum, minimum"),
    "quick_gelu": (5, "product, exponential, sum, quotient, product"),
    "silu": (5, "negative, exponential, sum, quotient, product"),
    "hardswish": (5, "sum, maximum, minimum, product, quotient"),
    "mish": (5, "exponential, sum, logarithm, tanh, product"),
    "sigmoid": (4, "negative, exponential, sum, quotient"),
    "tanh": (1, "tanh"),
    "laplace": (5, "difference, quotient, erf, sum, product"),
    "sqrt_softplus": (4, "exponential, sum, logarithm, root"),
    "clamped_swish": (6, "minimum, product, exponential, sum, quotient, product"),
    "identity": (0, "nothing"),
    "xielu": (12, "comparison, minimum, exponential, two differences, five products, two sums"),
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
