"""One affine map: its weights, and the product of its tokens with its matrix."""

from __future__ import annotations

from archcalc.ledger.algebra import Poly
from archcalc.ledger.leaves import Component, Forward, Matmul, Saved, Weight
from archcalc.ledger.tensors import Tensor


def linear(name: str, x: Tensor, out: Poly, component: Component, *, bias: bool) -> Forward[Tensor]:
    """`name.weight` [out, into] and, with `bias`, `name.bias` [out], applied to `x` [..., into], which is kept."""
    yield Weight(f"{name}.weight", (out, x.axes[-1]), component)
    if bias:
        yield Weight(f"{name}.bias", (out,), component)
    yield Saved(name, x, component)
    yield Matmul(name, (*x.axes, out), component)
    return x.new(name, *x.axes[:-1], out)
