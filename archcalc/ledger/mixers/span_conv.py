"""A convolution over the tokens around each (DeBERTa-v2)."""

from __future__ import annotations

from archcalc.ledger.activation import activation
from archcalc.ledger.forward_context import ForwardContext
from archcalc.ledger.leaves import Forward, Matmul, Save, Weight
from archcalc.ledger.symbols import Symbols
from archcalc.ledger.tensor import Tensor
from archcalc.spec.mixer import SpanConv


def leaves(part: SpanConv, d: Symbols, x: Tensor, ctx: ForwardContext) -> Forward[Tensor]:
    """Yield the leaves of a convolution of all channels, and of its activation. Zeros beside the text count."""
    yield Weight("conv.weight", (d.d_model, d.d_model, d.d_conv), "mixer", convolves=True)
    yield Weight("conv.bias", (d.d_model,), "mixer")
    yield Save("conv", x, "mixer")
    yield Matmul("conv", (*x.axes[:-1], d.d_model * d.d_conv, d.d_model), "mixer")
    return (yield from activation(part.activation, "conv", "mixer", x.new("conv")))
