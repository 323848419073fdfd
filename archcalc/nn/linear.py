"""Torch's layers with matrices, left uninitialized: `archcalc.nn.initialization` fills them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Linear(nn.Linear):
    """x·Wᵀ + b with W [out, in]; uninitialized."""

    def reset_parameters(self) -> None:
        """Leave the weights as they are."""


class EmbeddingTable(nn.Embedding):
    """A table [rows, width] read by index; uninitialized."""

    def reset_parameters(self) -> None:
        """Leave the table as it is."""


class ExpertLinear(nn.Module):
    """A Linear for each expert: weight [E, out, in] and bias [E, out]."""

    bias: nn.Parameter | None

    def __init__(self, n_experts: int, d_in: int, d_out: int, bias: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_experts, d_out, d_in))
        self.bias = nn.Parameter(torch.empty(n_experts, d_out)) if bias else None

    def forward(self, x_Ci: Tensor, experts_C: Tensor) -> Tensor:
        """Map inputs [C, in] to [C, out], each by the expert with its index in [C]: gather, then bmm."""
        y_Co = torch.bmm(self.weight[experts_C], x_Ci.unsqueeze(-1)).squeeze(-1)
        return y_Co if self.bias is None else y_Co + self.bias[experts_C]

    def apply_expert(self, x_ci: Tensor, expert: int) -> Tensor:
        """Map inputs [c, in] of one expert to [c, out]."""
        return F.linear(x_ci, self.weight[expert], None if self.bias is None else self.bias[expert])


class AdapterLinear(nn.Module):
    """A Linear for each adapter, of which one is applied: weight [A, out, in] and bias [A, out]."""

    bias: nn.Parameter | None

    def __init__(self, n_adapters: int, active: int, d_in: int, d_out: int, bias: bool) -> None:
        super().__init__()
        self.active = active
        self.weight = nn.Parameter(torch.empty(n_adapters, d_out, d_in))
        self.bias = nn.Parameter(torch.empty(n_adapters, d_out)) if bias else None

    def forward(self, x_BTi: Tensor) -> Tensor:
        """Map [B, T, in] to [B, T, out]."""
        return F.linear(x_BTi, self.weight[self.active], None if self.bias is None else self.bias[self.active])
