"""Several residual streams, as a tensor."""

from __future__ import annotations

from archcalc.ledger.symbols import Symbols
from archcalc.ledger.tensor import Tensor


def streams(x: Tensor, d: Symbols) -> Tensor:
    """Return new streams [B, T, n_streams, D] with the batch and the tokens of `x`."""
    return x.new("streams", *x.axes[:2], d.n_streams, d.d_model)
