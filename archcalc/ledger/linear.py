"""A linear layer: its weights and its matrix product."""

from __future__ import annotations

from archcalc.ledger.algebra import Poly
from archcalc.ledger.leaves import Component, Forward, Matmul, Save, Weight
from archcalc.ledger.tensor import Tensor


def linear(name: str, x: Tensor, out: Poly, component: Component, *, bias: bool) -> Forward[Tensor]:
    """Yield `name.weight` [out, into] and, with `bias`, `name.bias` [out], applied to `x` [..., into]; `x` is saved."""
    yield Weight(f"{name}.weight", (out, x.axes[-1]), component)
    if bias:
        yield Weight(f"{name}.bias", (out,), component)
    yield Save(name, x, component)
    yield Matmul(name, (*x.axes, out), component)
    return x.new(name, *x.axes[:-1], out)
