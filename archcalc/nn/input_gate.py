"""The gate on what the arms of a branch read.

Axes: B batch, T tokens, D model, R rank.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from archcalc.nn.linear import Linear


class InputGate(nn.Module):
    """y · σ(up(silu(down(y)))) of states y, down and up [R, D] and [D, R] (A.X K2)."""

    def __init__(self, rank: int, d_model: int) -> None:
        super().__init__()
        self.down, self.up = Linear(d_model, rank, bias=False), Linear(rank, d_model, bias=False)

    def forward(self, y_BTD: Tensor) -> Tensor:
        """Return the gated states."""
        return y_BTD * self.values(y_BTD)

    def values(self, y_BTD: Tensor) -> Tensor:
        """Return what the states are multiplied by, between 0 and 1."""
        gate_BTD: Tensor = self.up(F.silu(self.down(y_BTD)))
        return gate_BTD.sigmoid()
