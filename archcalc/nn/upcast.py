"""Upcast what rounding would spoil to float32 at least."""

from __future__ import annotations

import torch
from torch import Tensor


def upcast_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return float32 for narrower dtypes; float64 stays float64."""
    return torch.promote_types(dtype, torch.float32)


def upcast(x: Tensor) -> Tensor:
    """Return the tensor in float32 at least."""
    return x.to(upcast_dtype(x.dtype))
