"""Vectors that are scaled down to a length where they are longer (Inkling 2)."""

from __future__ import annotations

import torch
from torch import Tensor

from archcalc.nn.upcast import upcast

# Added to each length, so that nothing is divided by 0.
_EPS = 1e-6


def clipped_length(x: Tensor, longest: float, factors: Tensor | None = None) -> Tensor:
    """Return vectors of the last axis, times `factors` if given, each at most `longest`; in float32 at least."""
    y = upcast(x) if factors is None else upcast(x) * upcast(factors)
    length = torch.linalg.vector_norm(y, dim=-1, keepdim=True)
    clipped: Tensor = y * (longest / (length + _EPS)).clamp(max=1.0)
    return clipped.to(x.dtype)
