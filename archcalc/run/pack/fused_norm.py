"""RMSNorm in one kernel."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from archcalc.nn.norm import RMSNorm


class FusedRMSNorm(nn.Module):
    """`archcalc.nn.norm.RMSNorm` for float32."""

    weight: Tensor | None
    bias: Tensor | None

    def __init__(self, norm: RMSNorm) -> None:
        super().__init__()
        self.eps = norm.eps
        weight = norm.weight if norm.weight is None else norm.weight.detach().float()
        self.register_buffer("weight", weight if weight is None or not norm.unit_offset else 1.0 + weight)
        self.register_buffer("bias", None if norm.bias is None else norm.bias.detach().float())

    def forward(self, x: Tensor) -> Tensor:
        """Return the normed input."""
        y = self._scaled(x)
        return y if self.bias is None else y + self.bias

    def _scaled(self, x: Tensor) -> Tensor:
        """Return the input before the bias. A dot product with itself, for a single row, needs fewer kernels."""
        weight, width = self.weight, x.shape[-1]
        if x.numel() == width and weight is not None:
            row = x.view(-1)
            return (x * weight).mul_((torch.dot(row, row).item() / width + self.eps) ** -0.5)
        return torch.rms_norm(x, (width,), weight, self.eps)
