"""A causal depthwise convolution to whose weights each token adds numbers of its own."""

from __future__ import annotations

from archcalc.ledger.algebra import Poly
from archcalc.ledger.forward_context import save
from archcalc.ledger.leaves import Elementwise, Forward, State, Weight
from archcalc.ledger.linear import linear
from archcalc.ledger.tensor import Tensor


def token_conv(name: str, n_heads: Poly, x: Tensor, width: Poly, read: Tensor) -> Forward[None]:
    """Yield the leaves of a convolution of `x` [BATCH, tokens, channels] with numbers computed from `read`.

    The product of windows and weights saves both: windows are a view of all tokens with the padding.
    """
    batch, tokens, channels = x.axes
    yield Weight(f"{name}.kernel", (width, channels), "attention")
    yield from linear(f"{name}.numbers", read, n_heads * width, "attention", bias=False)
    windows, weights = (
        x.new("tokens with padding", batch, tokens + width - 1, channels),
        x.new("weights", *x.axes, width),
    )
    yield Elementwise(name, weights.axes, "attention", "product")
    yield from save(name, "attention", windows, weights)
    yield State(f"{name}_state", (channels, width - 1))
