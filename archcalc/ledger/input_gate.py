"""The gate on what the arms of a branch read: a low-rank map of the states multiplies them."""

from __future__ import annotations

from archcalc.ledger.forward_context import save
from archcalc.ledger.leaves import Elementwise, Forward, Save, with_prefix
from archcalc.ledger.linear import linear
from archcalc.ledger.symbols import Symbols
from archcalc.ledger.tensor import Tensor


def leaves(name: str, d: Symbols, x: Tensor) -> Forward[Tensor]:
    """Yield the leaves of the gate; the product saves both factors."""
    hidden = yield from with_prefix(f"{name}.", linear("down", x, d.in_gate_rank, "norm", bias=False))
    yield Elementwise(name, hidden.axes, "norm", "silu")
    yield Save(name, hidden, "norm")
    gate = yield from with_prefix(f"{name}.", linear("up", hidden.new("activated"), d.d_model, "norm", bias=False))
    yield Elementwise(name, gate.axes, "norm", "sigmoid")
    yield from save(name, "norm", x, gate.new("sigmoid"))
    yield Elementwise(name, x.axes, "norm", "gate")
    return x.new(name.rpartition(".")[2])
