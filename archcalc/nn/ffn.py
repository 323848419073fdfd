"""Dense feed-forwards.

Axes: B batch, T tokens, D model, F feed-forward width.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from archcalc.nn.activation import ACTIVATIONS, gating
from archcalc.nn.linear import Linear
from archcalc.nn.taps.points import tap
from archcalc.spec import Spec
from archcalc.spec import ffn as spec
from archcalc.spec.execution import Execution


class Plain(nn.Module):
    """down(activation(up(x))) (Vaswani et al. 2017, eq. 2)."""

    def __init__(self, part: spec.Plain, model: Spec) -> None:
        super().__init__()
        self.dropout, self.how = model.dropout.ffn, Execution()
        self.activation = ACTIVATIONS[part.activation]
        self.up = Linear(model.d_model, part.d_ff, bias=part.bias)
        self.down = Linear(part.d_ff, model.d_model, bias=part.bias)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """States [B, T, D] to states [B, T, D]."""
        hidden_BTF = tap("hidden", self.activation(self.up(x_BTD)))
        y_BTD: Tensor = self.down(F.dropout(hidden_BTF, self.dropout, self.training and self.how.dropout))
        return y_BTD


class Gated(nn.Module):
    """down(activation(gate(x)) · up(x)) (Shazeer 2020, eq. 6)."""

    def __init__(self, part: spec.Gated, model: Spec) -> None:
        super().__init__()
        self.dropout, self.how = model.dropout.ffn, Execution()
        self.gating = gating(part.activation)
        self.gate = Linear(model.d_model, part.d_ff, bias=part.bias)
        self.up = Linear(model.d_model, part.d_ff, bias=part.bias)
        self.down = Linear(part.d_ff, model.d_model, bias=part.bias)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """States [B, T, D] to states [B, T, D]."""
        hidden_BTF = tap("hidden", self.gating(self.gate(x_BTD), self.up(x_BTD)))
        y_BTD: Tensor = self.down(F.dropout(hidden_BTF, self.dropout, self.training and self.how.dropout))
        return y_BTD
