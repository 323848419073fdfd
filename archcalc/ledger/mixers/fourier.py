"""A Fourier transform over tokens and channels (FNet)."""

from __future__ import annotations

from archcalc.ledger.forward_context import ForwardContext
from archcalc.ledger.leaves import Forward
from archcalc.ledger.symbols import Symbols
from archcalc.ledger.tensor import Tensor
from archcalc.spec.mixer import Fourier


def leaves(part: Fourier, d: Symbols, x: Tensor, ctx: ForwardContext) -> Forward[Tensor]:
    """Yield no leaves: the transform is linear, has no weights, and multiplies no matrices."""
    yield from ()
    return x.new("transformed")
