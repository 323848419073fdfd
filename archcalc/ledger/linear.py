"""A linear layer: its weights and its matrix product."""

from __future__ import annotations

from archcalc.ledger.algebra import ONE, Poly
from archcalc.ledger.leaves import Component, Forward, Matmul, Save, Weight
from archcalc.ledger.tensor import Tensor


def linear(
    name: str, x: Tensor, out: Poly, component: Component, *, bias: bool, block: Poly | None = None
) -> Forward[Tensor]:
    """Yield `name.weight` [out, into] and, with `bias`, `name.bias` [out], applied to `x` [..., into]; `x` is saved.

    With a `block`, each output reads so many channels: the weight is [out, block, 1], as that of a convolution.
    """
    if block is None:
        yield Weight(f"{name}.weight", (out, x.axes[-1]), component)
    else:
        yield Weight(f"{name}.weight", (out, block, ONE), component, convolves=True)
    if bias:
        yield Weight(f"{name}.bias", (out,), component)
    yield Save(name, x, component)
    yield Matmul(name, (*x.axes[:-1], x.axes[-1] if block is None else block, out), component)
    return x.new(name, *x.axes[:-1], out)
