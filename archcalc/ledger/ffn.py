"""Feed-forward networks that every token takes."""

from __future__ import annotations

import msgspec

from archcalc.ledger import norm
from archcalc.ledger.activation import activated
from archcalc.ledger.activation import gated as gated_activation
from archcalc.ledger.algebra import Poly
from archcalc.ledger.forward import Pass, dropped
from archcalc.ledger.leaves import Forward
from archcalc.ledger.linear import linear
from archcalc.ledger.symbols import Symbols
from archcalc.ledger.tensors import Tensor
from archcalc.spec.activation import AnyActivation
from archcalc.spec.ffn import Gated, Plain, has_down_bias
from archcalc.spec.norm import Norm


class Maps(msgspec.Struct, frozen=True):
    """What a feed-forward's matrices have beside them."""

    is_gated: bool
    bias: bool
    down_bias: bool
    down_norm: Norm | None = None


def plain(part: Plain, d: Symbols, x: Tensor, here: Pass) -> Forward[Tensor]:
    """Up and down."""
    return dense(part.activation, d.d_ff, x, here, Maps(False, part.bias, has_down_bias(part), part.down_norm))


def gated(part: Gated, d: Symbols, x: Tensor, here: Pass) -> Forward[Tensor]:
    """Gate, up and down."""
    return dense(part.activation, d.d_ff, x, here, Maps(True, part.bias, has_down_bias(part), part.down_norm))


def dense(activation: AnyActivation, width: Poly, x: Tensor, here: Pass, maps: Maps) -> Forward[Tensor]:
    """The two or three maps of a feed-forward of this width."""
    if maps.is_gated:
        gate = yield from linear("gate", x, width, "ffn", bias=maps.bias)
        up = yield from linear("up", x, width, "ffn", bias=maps.bias)
        hidden = yield from gated_activation(activation, "activation", "ffn", gate, up)
    else:
        up = yield from linear("up", x, width, "ffn", bias=maps.bias)
        hidden = yield from activated(activation, "activation", "ffn", up)
    hidden = yield from dropped(hidden, here.dropout.ffn, here, "ffn", "activation")
    if maps.down_norm is not None:
        hidden = yield from norm.leaves(maps.down_norm, "down_norm", hidden, here)
    return (yield from linear("down", hidden, x.axes[-1], "ffn", bias=maps.down_bias))
