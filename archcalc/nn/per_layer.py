"""Per-layer embeddings, and the gates that read them.

Axes: B batch, T tokens, D model, L layers, W width of a layer's own embedding.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from archcalc.nn.activation import activation, gated
from archcalc.nn.linear import EmbeddingTable, Linear
from archcalc.nn.norm import norm
from archcalc.nn.taps.points import tap
from archcalc.spec import Spec
from archcalc.spec import ffn as spec
from archcalc.spec import layer as stack_spec


class PerLayerEmbedding(nn.Module):
    """Numbers of each token for each layer: a row of a table and a projection of its states (Gemma 3n, Google 2025)."""

    norm: nn.Module | None

    def __init__(self, part: stack_spec.PerLayerEmbedding, n_layers: int, model: Spec) -> None:
        super().__init__()
        assert part.n_rows is not None, "the spec is resolved"
        self.n_layers, self.width, self.n_rows = n_layers, part.d_per_layer, part.n_rows
        self.table = EmbeddingTable(part.n_rows, n_layers * part.d_per_layer)
        self.project = Linear(model.d_model, n_layers * part.d_per_layer, bias=False)
        self.norm = norm(part.norm, part.d_per_layer) if part.norm else None

    def forward(self, ids_BT: Tensor, x_BTD: Tensor) -> Tensor:
        """Return the numbers of all layers [B, T, L·W]."""
        projected_BTZ = self.project(x_BTD) * x_BTD.shape[-1] ** -0.5
        if self.norm is not None:
            each_BTLW = projected_BTZ.view(*x_BTD.shape[:-1], self.n_layers, self.width)
            projected_BTZ = self.norm(each_BTLW).flatten(2)
        rows_BTZ = self.table(torch.where(ids_BT < self.n_rows, ids_BT, 0)) * self.width**0.5
        sum_BTZ: Tensor = (projected_BTZ + rows_BTZ) * 2**-0.5
        return sum_BTZ


class PerLayerGate(nn.Module):
    """down(activation(gate(x)) · e) of a layer's own embedding e."""

    def __init__(self, part: spec.PerLayerGate, model: Spec) -> None:
        super().__init__()
        assert part.d_per_layer is not None, "the spec is resolved"
        self.gate = Linear(model.d_model, part.d_per_layer, bias=False)
        self.activation = activation(part.activation)
        self.down = Linear(part.d_per_layer, model.d_model, bias=False)

    def forward(self, x_BTD: Tensor, own_BTW: Tensor) -> Tensor:
        """Map states [B, T, D] to states [B, T, D], by the layer's own numbers [B, T, W]."""
        y_BTD: Tensor = self.down(tap("hidden", gated(self.activation, self.gate(x_BTD), own_BTW)))
        return y_BTD
