"""Shared experts that the router weighs, their matrices stacked (Inkling).

Axes: B batch, T tokens, Q all B·T tokens, D model, F an expert's width, s shared experts.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archcalc.nn.activation import activation, gated
from archcalc.spec import ffn as spec


class StackedLinear(nn.Module):
    """A matrix for each expert: weight [s, out, in]."""

    def __init__(self, n: int, d_in: int, d_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n, d_out, d_in))

    def forward(self, x_sQi: Tensor) -> Tensor:
        """Map inputs [s, Q, in] of each expert to [s, Q, out]."""
        return torch.bmm(x_sQi, self.weight.transpose(1, 2))


class SharedExperts(nn.Module):
    """Σ down(weight · activation(gate(x)) · up(x)) over all experts."""

    def __init__(self, part: spec.MoE, d_model: int, dropout: float) -> None:
        super().__init__()
        assert part.d_shared is not None, "the spec is resolved"
        self.n, self.dropout = part.n_shared, dropout
        self.activation = activation(part.shared_activation or part.activation)
        self.gate, self.up = (StackedLinear(part.n_shared, d_model, part.d_shared) for _ in range(2))
        self.down = StackedLinear(part.n_shared, part.d_shared, d_model)

    def forward(self, x_BTD: Tensor, weights_Qs: Tensor, *, drops: bool) -> Tensor:
        """Map states [B, T, D] to states [B, T, D]; `drops`: apply dropout."""
        x_sQD = x_BTD.flatten(0, 1).expand(self.n, -1, -1)
        hidden_sQF = gated(self.activation, self.gate(x_sQD), self.up(x_sQD)) * weights_Qs.t().unsqueeze(-1)
        y_sQD: Tensor = self.down(F.dropout(hidden_sQF, self.dropout, drops))
        return y_sQD.sum(0).view_as(x_BTD)
