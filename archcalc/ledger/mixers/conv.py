"""A causal depthwise convolution, which mixers share."""

from __future__ import annotations

from archcalc.ledger.algebra import ONE, Poly
from archcalc.ledger.leaves import Component, Forward, Matmul, Save, State, Weight
from archcalc.ledger.tensor import Tensor
from archcalc.ledger.tokens import BATCH, convolved


def causal_conv(name: str, x: Tensor, width: Poly, *, bias: bool, component: Component = "mixer") -> Forward[Tensor]:
    """Yield the leaves of a convolution of each channel of `x` [BATCH, tokens, channels] over the last `width` tokens.

    Padding positions count, as torch counts them. The state holds the last width − 1 tokens. The output is a view of a
    tensor that includes the padding positions.
    """
    channels = x.axes[-1]
    yield Weight(f"{name}.weight", (channels, ONE, width), component, convolves=True)
    if bias:
        yield Weight(f"{name}.bias", (channels,), component)
    yield Save(name, x, component)
    yield Matmul(name, (BATCH, convolved(width), channels, width), component)
    yield State(f"{name}_state", (channels, width - 1))
    return x.new(name, BATCH, channels, convolved(width)).view(*x.axes)
