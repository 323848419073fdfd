"""A gated short convolution (LFM2)."""

from __future__ import annotations

from archcalc.ledger.forward_context import ForwardContext, save
from archcalc.ledger.leaves import Elementwise, Forward
from archcalc.ledger.linear import linear
from archcalc.ledger.mixers.conv import causal_conv
from archcalc.ledger.symbols import Symbols
from archcalc.ledger.tensor import Tensor
from archcalc.spec.mixer import ShortConv


def leaves(part: ShortConv, d: Symbols, x: Tensor, ctx: ForwardContext) -> Forward[Tensor]:
    """Yield the leaves of a short convolution: each of its two products saves both factors."""
    projected = yield from linear("in", x, 3 * d.d_model, "mixer", bias=part.bias)
    factor = projected.view(*x.axes)
    yield Elementwise("in", x.axes, "mixer", "gate")
    yield from save("in", "mixer", factor)
    convolved = yield from causal_conv("conv", x.new("gated"), d.d_conv, bias=part.bias)
    yield Elementwise("conv", x.axes, "mixer", "gate")
    yield from save("conv", "mixer", factor, convolved)
    return (yield from linear("out", x.new("gated"), d.d_model, "mixer", bias=part.bias))
