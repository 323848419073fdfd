"""Feed-forward networks that every token takes."""

from __future__ import annotations

from archcalc.ledger.activation import activated
from archcalc.ledger.activation import gated as gated_activation
from archcalc.ledger.algebra import Poly
from archcalc.ledger.forward import Pass, dropped
from archcalc.ledger.leaves import Forward
from archcalc.ledger.linear import linear
from archcalc.ledger.symbols import Symbols
from archcalc.ledger.tensors import Tensor
from archcalc.spec.base import Activation
from archcalc.spec.ffn import Gated, Plain


def plain(part: Plain, d: Symbols, x: Tensor, here: Pass) -> Forward[Tensor]:
    """Up and down."""
    return dense(part.activation, d.d_ff, x, here, is_gated=False, bias=part.bias)


def gated(part: Gated, d: Symbols, x: Tensor, here: Pass) -> Forward[Tensor]:
    """Gate, up and down."""
    return dense(part.activation, d.d_ff, x, here, is_gated=True, bias=part.bias)


def dense(activation: Activation, width: Poly, x: Tensor, here: Pass, *, is_gated: bool, bias: bool) -> Forward[Tensor]:
    """The two or three maps of a feed-forward of this width."""
    if is_gated:
        gate = yield from linear("gate", x, width, "ffn", bias=bias)
        up = yield from linear("up", x, width, "ffn", bias=bias)
        hidden = yield from gated_activation(activation, "activation", "ffn", gate, up)
    else:
        up = yield from linear("up", x, width, "ffn", bias=bias)
        hidden = yield from activated(activation, "activation", "ffn", up)
    hidden = yield from dropped(hidden, here.dropout.ffn, here, "ffn", "activation")
    return (yield from linear("down", hidden, x.axes[-1], "ffn", bias=bias))
