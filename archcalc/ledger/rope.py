"""Rotary positions: no weights; the angles' cosines and sines are kept, once for all layers that turn alike."""

from __future__ import annotations

from archcalc.ledger.forward import Pass
from archcalc.ledger.leaves import Elementwise, Forward, Saved
from archcalc.ledger.symbols import Symbols
from archcalc.ledger.tensors import Tensor
from archcalc.spec.position import Rope


def rotated(part: Rope, name: str, x: Tensor, d: Symbols, here: Pass) -> Forward[Tensor]:
    """Queries or keys, d_rotary of their width turned; an angle serves two numbers, and has a cosine and a sine."""
    *before, tokens, _ = x.axes
    yield Elementwise(name, (*before, tokens, d.d_rotary), "attention", "rope")
    yield Saved(name, here.once((here.span, part), lambda: x.new("cosines and sines", tokens, d.d_rotary)), "position")
    return x.new(name)
