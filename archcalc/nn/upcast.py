"""Numbers wide enough for what rounding would spoil: float32, or what they have if that is more."""

from __future__ import annotations

import torch
from torch import Tensor


def upcast_dtype(dtype: torch.dtype) -> torch.dtype:
    """float32 of what is narrower; float64 stays float64."""
    return torch.promote_types(dtype, torch.float32)


def upcast(x: Tensor) -> Tensor:
    """The same numbers, in float32 at least."""
    return x.to(upcast_dtype(x.dtype))
