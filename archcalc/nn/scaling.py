"""A tensor times a number of the spec, or times learned numbers."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def multiply(x: Tensor, factor: float) -> Tensor:
    """Return a tensor times a number; the tensor itself for 1."""
    return x if factor == 1 else x * factor


class ChannelScale(nn.Module):
    """A learned factor of each channel, at first 1; before it a bias is added, at first 0, if there is one."""

    bias: nn.Parameter | None

    def __init__(self, width: int, *, bias: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width))
        self.bias = nn.Parameter(torch.empty(width)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Return states [..., width], plus the bias, times the factors."""
        return (x if self.bias is None else x + self.bias) * self.weight
