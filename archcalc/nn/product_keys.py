"""Experts of one hidden unit each, chosen by product keys (Lample et al. 2019; He 2024).

Axes: B batch, T tokens, D model, k active experts, K keys of each list, S all sums of two scores.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from archcalc.nn.activation import activation
from archcalc.nn.linear import EmbeddingTable, Linear
from archcalc.nn.taps.points import tap
from archcalc.spec import Spec
from archcalc.spec import ffn as spec
from archcalc.spec.execution import Execution


class ProductKeys(nn.Module):
    """Σ softmax(scores) · activation(up·x) · down over the experts with the best sums of two scores."""

    def __init__(self, part: spec.ProductKeys, model: Spec) -> None:
        super().__init__()
        assert part.n_keys is not None, "the spec is resolved"
        self.part, self.dropout, self.execution = part, model.dropout.ffn, Execution()
        self.router = Linear(model.d_model, 2 * part.n_keys, bias=False)
        self.activation = activation(part.activation)
        self.up_rows, self.down_rows = (EmbeddingTable(part.n_experts, model.d_model) for _ in range(2))

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Map states [B, T, D] to states [B, T, D]."""
        first_BTK, second_BTK = tap("router", self.router(x_BTD)).chunk(2, -1)
        sums_BTS = (first_BTK.unsqueeze(-1) + second_BTK.unsqueeze(-2)).flatten(-2)
        scores_BTk, chosen_BTk = sums_BTS.topk(self.part.n_active, -1)
        chosen_BTk = tap("chosen", chosen_BTk)
        weights_BTk = tap("weights", scores_BTk.softmax(-1))
        hidden_BTk = (self.up_rows(chosen_BTk) @ x_BTD.unsqueeze(-1)).squeeze(-1)
        hidden_BTk = tap("hidden", self.activation(hidden_BTk) * weights_BTk)
        hidden_BTk = F.dropout(hidden_BTk, self.dropout, self.training and self.execution.dropout)
        y_BTD: Tensor = (hidden_BTk.unsqueeze(-2) @ self.down_rows(chosen_BTk)).squeeze(-2)
        return y_BTD
