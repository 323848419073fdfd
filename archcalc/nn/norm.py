"""Norms over a tensor's last axis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from msgspec import structs
from torch import Tensor, nn

from archcalc.nn.upcast import upcast
from archcalc.spec import norm as spec


class LayerNorm(nn.Module):
    """(x − mean) / deviation · weight + bias (Ba et al. 2016, section 3); weight and bias [width] are optional.

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
        """Return the normed input."""
        scale = self.weight + 1.0 if self.weight is not None and self.unit_offset else self.weight
        return F.layer_norm(x, (self.width,), scale, self.bias, self.eps)


class RMSNorm(nn.Module):
    """x / √(mean(x²) + eps) · weight + bias (Zhang & Sennrich 2019, eq. 4); weight and bias [width] are optional.

    The division is in float32 at least.
    """

    weight: nn.Parameter | None
    bias: nn.Parameter | None

    def __init__(self, part: spec.RMSNorm, width: int) -> None:
        super().__init__()
        self.eps, self.unit_offset = part.eps, part.unit_offset
        self.weight = nn.Parameter(torch.empty(width)) if part.weight else None
        self.bias = nn.Parameter(torch.empty(width)) if part.bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Return the normed input."""
        y = self._scaled(x)
        return y if self.bias is None else y + self.bias

    def _scaled(self, x: Tensor) -> Tensor:
        x_float = upcast(x)
        normed = x_float * torch.rsqrt(x_float.pow(2).mean(-1, keepdim=True) + self.eps)
        if self.weight is None:
            return normed.to(x.dtype)
        if self.unit_offset:
            return (normed * (1.0 + upcast(self.weight))).to(x.dtype)
        return self.weight * normed.to(x.dtype)


class Affine(nn.Module):
    """x · weight + bias (Sun et al. 2020, section 3.3), or (x + bias) · weight; both [width] are optional."""

    weight: nn.Parameter | None
    bias: nn.Parameter | None

    def __init__(self, part: spec.Affine, width: int) -> None:
        super().__init__()
        self.unit_offset, self.bias_first = part.unit_offset, part.bias_first
        self.weight = nn.Parameter(torch.empty(width)) if part.weight else None
        self.bias = nn.Parameter(torch.empty(width)) if part.bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Return the scaled and shifted input."""
        if self.bias is not None and self.bias_first:
            x = x + self.bias
        if self.weight is not None:
            x = x * (self.weight + 1.0 if self.unit_offset else self.weight)
        return x if self.bias is None or self.bias_first else x + self.bias


class HeadNorm(nn.Module):
    """A norm over each head's width of [..., N, T, H], with a weight [N, H] of its own for every head (Cohere)."""

    weight: nn.Parameter | None
    bias: nn.Parameter | None

    def __init__(self, part: spec.Norm, n_heads: int, width: int) -> None:
        super().__init__()
        self.unit_offset = getattr(part, "unit_offset", False)
        self.weight = nn.Parameter(torch.empty(n_heads, width)) if part.weight else None
        self.bias = nn.Parameter(torch.empty(n_heads, width)) if part.bias else None
        self.bare = norm(structs.replace(part, weight=False, bias=False), width)

    def forward(self, x: Tensor) -> Tensor:
        """Return the normed input."""
        x = self.bare(x)
        if self.weight is not None:
            x = x * (1.0 + self.weight if self.unit_offset else self.weight).unsqueeze(1)
        return x if self.bias is None else x + self.bias.unsqueeze(1)


class GroupNorm(nn.Module):
    """An RMS norm of each of G groups of the last axis, with one weight and bias for the whole axis (Mamba-2)."""

    weight: nn.Parameter | None
    bias: nn.Parameter | None

    def __init__(self, part: spec.RMSNorm, n_groups: int, width: int) -> None:
        super().__init__()
        self.n_groups, self.unit_offset = n_groups, part.unit_offset
        self.weight = nn.Parameter(torch.empty(width)) if part.weight else None
        self.bias = nn.Parameter(torch.empty(width)) if part.bias else None
        self.bare = RMSNorm(structs.replace(part, weight=False, bias=False), width // n_groups)

    def forward(self, x: Tensor) -> Tensor:
        """Return the normed input."""
        x = self.bare(torch.unflatten(x, -1, (self.n_groups, -1))).flatten(-2)
        if self.weight is not None:
            x = x * (1.0 + upcast(self.weight) if self.unit_offset else self.weight)
        return x if self.bias is None else x + self.bias


class PieceNorm(nn.Module):
    """A norm of each of P pieces of the last axis, with one weight and bias for the whole axis (xLSTM)."""

    weight: nn.Parameter | None
    bias: nn.Parameter | None

    def __init__(self, part: spec.Norm, n_pieces: int, width: int) -> None:
        super().__init__()
        self.n_pieces, self.unit_offset = n_pieces, part.unit_offset
        self.weight = nn.Parameter(torch.empty(n_pieces * width)) if part.weight else None
        self.bias = nn.Parameter(torch.empty(n_pieces * width)) if part.bias else None
        self.bare = norm(structs.replace(part, weight=False, bias=False), width)

    def forward(self, x: Tensor) -> Tensor:
        """Return the normed input."""
        x = self.bare(torch.unflatten(x, -1, (self.n_pieces, -1))).flatten(-2)
        if self.weight is not None:
            x = x * (1.0 + self.weight if self.unit_offset else self.weight)
        return x if self.bias is None else x + self.bias


NORMS: dict[type, Callable[[Any, int], nn.Module]] = {
    spec.LayerNorm: LayerNorm,
    spec.RMSNorm: RMSNorm,
    spec.Affine: Affine,
}


def norm(part: spec.Norm, width: int) -> nn.Module:
    """Return the module of a norm over the last `width` elements."""
    return NORMS[type(part)](part, width)
