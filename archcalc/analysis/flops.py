"""FLOPs of a workload, as sums over the ledger's matrix products: 2 for each multiply-accumulate, exact.

A backward pass multiplies the gradient of each output once with the weights (for the gradient of the input) and once
with the input (for that of the weights), so it costs twice the forward pass; every operand needs a gradient, except
those of an indexer, which costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

import msgspec

from archcalc.ledger.leaves import COMPONENTS, Component
from archcalc.ledger.rows import Ledger, MatmulRow
from archcalc.spec.workload import Workload


class Flops(TypedDict):
    """FLOPs of a workload.

    forward: over every key that a layer holds, as an eager implementation computes. forward_causal: over the attended
    pairs only, windows included. backward and train_step (forward and backward): of `forward`.
    """

    forward: int
    forward_causal: int
    backward: int
    train_step: int


class OpFlops(msgspec.Struct, frozen=True):
    """FLOPs of one row of the ledger, over all its layers."""

    row: MatmulRow
    forward: int
    forward_causal: int

    @property
    def backward(self) -> int:
        """Return the FLOPs of the backward pass: two products for each of the forward pass that has gradients."""
        return self.row.backward_factor * self.forward


def by_op(ledger: Ledger, work: Workload) -> list[OpFlops]:
    """Return the FLOPs of every matrix product, in the order of the ledger."""
    sizes = ledger.at(work)
    return [_op(row, sizes) for row in ledger.matmuls]


def _op(row: MatmulRow, sizes: Mapping[str, int]) -> OpFlops:
    forward = row.flops(sizes)
    return OpFlops(row, forward, row.causal_flops(sizes) if row.matmul.causal_axes else forward)


def summary(ledger: Ledger, work: Workload) -> Flops:
    """Return the totals of a workload."""
    return totals(by_op(ledger, work))


def totals(ops: Sequence[OpFlops]) -> Flops:
    """Return the sums over operations."""
    forward, backward = sum(op.forward for op in ops), sum(op.backward for op in ops)
    return {
        "forward": forward,
        "forward_causal": sum(op.forward_causal for op in ops),
        "backward": backward,
        "train_step": forward + backward,
    }


def recomputation(ops: Sequence[OpFlops], *, early_stop: bool) -> int:
    """Return the FLOPs that a backward pass recomputes, by the policy that the ledger was built with.

    With `early_stop`, torch.utils.checkpoint stops at the last tensor that is needed, its default; without, it
    recomputes the whole region, as with `set_checkpoint_early_stop(False)` and in textbooks.
    """
    kinds = {"always"} if early_stop else {"always", "without early stop"}
    return sum(op.forward for op in ops if op.row.matmul.recomputation in kinds)


def by_component(ops: Sequence[OpFlops]) -> dict[Component, Flops]:
    """Return the sums over the operations of each component that has any; they add up to the total."""
    parts = {component: [op for op in ops if op.row.component == component] for component in COMPONENTS}
    return {component: totals(own) for component, own in parts.items() if own}
