"""FLOPs of a workload, as folds over the ledger's matmuls: 2 for each multiply-accumulate, exact.

A backward pass multiplies each output's gradient once with the weights (for the input's gradient) and once with the
input (for the weights'), so it costs twice the forward pass; every operand of every product here needs a gradient.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

import msgspec

from archcalc.ledger.leaves import COMPONENTS, Component
from archcalc.ledger.rows import Ledger, MatmulRow
from archcalc.spec.workload import Workload


class Flops(TypedDict):
    """FLOPs of a workload.

    forward: every key that a layer holds is multiplied, as an eager implementation does. forward_causal: only the pairs
    that are really attended, windows included. backward and train_step (forward and backward): of the former.
    """

    forward: int
    forward_causal: int
    backward: int
    train_step: int


class Again(TypedDict):
    """FLOPs that a backward pass computes anew, by where torch's checkpoint ends.

    early_stop: at the last tensor that is needed, as torch does unless told otherwise. to_the_end: with
    set_checkpoint_early_stop(False), as textbooks count it.
    """

    early_stop: int
    to_the_end: int


class OpFlops(msgspec.Struct, frozen=True):
    """One matmul's FLOPs over all its layers."""

    row: MatmulRow
    forward: int
    forward_causal: int

    @property
    def backward(self) -> int:
        """Two products for the one of the forward pass."""
        return 2 * self.forward


def by_op(ledger: Ledger, work: Workload) -> list[OpFlops]:
    """Every matmul's FLOPs, in the order of the ledger."""
    sizes = ledger.at(work)
    return [_op(row, sizes) for row in ledger.matmuls]


def _op(row: MatmulRow, sizes: Mapping[str, int]) -> OpFlops:
    forward = row.flops(sizes)
    return OpFlops(row, forward, row.causal_flops(sizes) if row.matmul.causal_axes else forward)


def summary(ledger: Ledger, work: Workload) -> Flops:
    """The totals of a workload."""
    return totals(by_op(ledger, work))


def totals(ops: list[OpFlops]) -> Flops:
    """The sums over ops."""
    forward = sum(op.forward for op in ops)
    return {
        "forward": forward,
        "forward_causal": sum(op.forward_causal for op in ops),
        "backward": 2 * forward,
        "train_step": 3 * forward,
    }


def again(ops: list[OpFlops]) -> Again:
    """What is computed again, with the recomputation that the ledger was built with."""
    return {
        "early_stop": sum(op.forward for op in ops if op.row.matmul.recomputation == "always"),
        "to_the_end": sum(op.forward for op in ops if op.row.matmul.recomputation != "never"),
    }


def by_component(ops: list[OpFlops]) -> dict[Component, Flops]:
    """The sums over the ops of each component that has any; they add up to the total."""
    parts = {component: [op for op in ops if op.row.component == component] for component in COMPONENTS}
    return {component: totals(own) for component, own in parts.items() if own}
