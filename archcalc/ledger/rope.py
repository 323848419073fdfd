"""Rotary positions: no weights; cosines and sines are saved once for all layers with the same rotation."""

from __future__ import annotations

from archcalc.ledger.forward_context import ForwardContext
from archcalc.ledger.leaves import Elementwise, Forward, Save
from archcalc.ledger.symbols import Symbols
from archcalc.ledger.tensor import Tensor
from archcalc.spec.position import Rope


def rotary(part: Rope, name: str, x: Tensor, d: Symbols, ctx: ForwardContext) -> Forward[Tensor]:
    """Yield the leaves of the rotation of d_rotary dimensions of `x`; each angle has a cosine and a sine."""
    *before, tokens, _ = x.axes
    yield Elementwise(name, (*before, tokens, d.d_rotary), "attention", "rope")
    angles = ctx.position_tensor((ctx.span, part), lambda: x.new("cosines and sines", tokens, d.d_rotary))
    yield Save(name, angles, "position")
    return x.new(name)
