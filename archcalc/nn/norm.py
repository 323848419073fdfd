"""Norms over a tensor's last axis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archcalc.nn.wide import widened
from archcalc.spec import norm as spec


class LayerNorm(nn.Module):
    """(x − mean) / deviation · weight + bias (Ba et al. 2016, section 3); weight and bias [width] where they exist.

    With `unit_offset` the scale is 1 + weight.
    """

    weight: nn.Parameter | None
    bias: nn.Parameter | None

    def __init__(self, part: spec.LayerNorm, width: int) -> None:
        super().__init__()
        self.width, self.eps, self.unit_offset = width, part.eps, part.unit_offset
        self.weight = nn.Parameter(torch.empty(width)) if part.weight else None
        self.bias = nn.Parameter(torch.empty(width)) if part.bias else None

    def forward(self, x: Tensor) -> Tensor:
        """The same shape, normed."""
        scale = self.weight + 1.0 if self.weight is not None and self.unit_offset else self.weight
        return F.layer_norm(x, (self.width,), scale, self.bias, self.eps)


class RMSNorm(nn.Module):
    """x / √(mean(x²) + eps) · weight (Zhang & Sennrich 2019, eq. 4), computed in float32 at least; weight [width]."""

    weight: nn.Parameter | None

    def __init__(self, part: spec.RMSNorm, width: int) -> None:
        super().__init__()
        self.eps, self.unit_offset = part.eps, part.unit_offset
        self.weight = nn.Parameter(torch.empty(width)) if part.weight else None

    def forward(self, x: Tensor) -> Tensor:
        """The same shape, normed."""
        wide = widened(x)
        normed = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)
        if self.weight is None:
            return normed.to(x.dtype)
        if self.unit_offset:
            return (normed * (1.0 + widened(self.weight))).to(x.dtype)
        return self.weight * normed.to(x.dtype)


NORMS: dict[type, Callable[[Any, int], nn.Module]] = {spec.LayerNorm: LayerNorm, spec.RMSNorm: RMSNorm}


def norm(part: spec.Norm, width: int) -> nn.Module:
    """The module of a norm over the last `width` numbers."""
    return NORMS[type(part)](part, width)
