"""Sizes of tensors that a model stores and its logits do not use."""

from __future__ import annotations

from archcalc.ledger.algebra import Poly
from archcalc.ledger.stack import StackBuilder
from archcalc.ledger.symbols import SizeTable, Symbols
from archcalc.spec.model import Axis


def size(axis: int | Axis, d: Symbols, table: SizeTable, stacks: list[StackBuilder]) -> Poly:
    """Return an axis: a number, a size of the model, twice its width, or a sum over the layers of all stacks."""
    if not isinstance(axis, str):
        return Poly.constant(axis)
    if axis == "twice_d_model":
        return d.d_model + d.d_model
    if axis == "n_layers":
        return Poly.sum(table.symbols(stack.owner())["n_layers"] for stack in stacks)
    if axis == "all_heads":
        return Poly.sum(heads for stack in stacks for heads in stack.heads(table))
    return d[axis]
