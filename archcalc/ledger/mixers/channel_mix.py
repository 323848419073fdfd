"""RWKV's channel mixing (Peng et al. 2023, section 3.1)."""

from __future__ import annotations

from archcalc.ledger.activation import activation
from archcalc.ledger.forward_context import ForwardContext, save
from archcalc.ledger.leaves import Elementwise, Forward
from archcalc.ledger.linear import linear
from archcalc.ledger.mixers.token_shift import shifted_projections
from archcalc.ledger.symbols import Symbols
from archcalc.ledger.tensor import Tensor
from archcalc.spec.mixer import ChannelMix


def leaves(part: ChannelMix, d: Symbols, x: Tensor, ctx: ForwardContext) -> Forward[Tensor]:
    """Yield the leaves of channel mixing."""
    k, r = yield from shifted_projections(x, [("k", d.d_ff), ("r", d.d_model)], "ffn")
    hidden = yield from activation("relu2", "k", "ffn", k)
    r = yield from activation("sigmoid", "r", "ffn", r)
    y = yield from linear("v", hidden, d.d_model, "ffn", bias=False)
    yield from save("gate", "ffn", y, r)
    yield Elementwise("gate", y.axes, "ffn", "gate")
    return y.new("out")
