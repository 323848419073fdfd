"""What the router of a mixture of experts reads, if that is a state of its own."""

from __future__ import annotations

from archcalc.ledger import norm
from archcalc.ledger.activation import activation
from archcalc.ledger.forward_context import ForwardContext
from archcalc.ledger.leaves import Elementwise, Forward, Save, Weight
from archcalc.ledger.linear import linear
from archcalc.ledger.symbols import Symbols
from archcalc.ledger.tensor import Tensor
from archcalc.spec.ffn import RouterMlp


def leaves(part: RouterMlp | None, d: Symbols, x: Tensor, ctx: ForwardContext) -> Forward[Tensor]:
    """Yield the leaves of the state of a router, which a later layer may add, and of two dense layers on it."""
    if part is None:
        return x
    state = (yield from linear("down", x, d.d_router, "ffn", bias=True)).new("state of the router", dtype="fp32")
    if part.adds_previous:
        assert ctx.router_state is not None, "an earlier layer has a state"
        yield Weight("state_scale", (d.d_router,), "ffn")
        yield Elementwise("state_scale", state.axes, "ffn", "product")
        yield Save("state_scale", ctx.router_state, "ffn")
    if ctx.arm in ctx.lent_out:
        ctx.lent_out[ctx.arm] = (state,)
    y = (yield from norm.leaves(part.norm, "norm", state, ctx)).as_dtype(x.dtype)
    for name in ("first", "second"):
        y = yield from linear(name, y, d.d_router, "ffn", bias=True)
        y = yield from activation(part.activation, name, "ffn", y)
    return y
