"""Modules with packed matrices.

Axes: B batch, T tokens, I inputs, O outputs, D model, V vocab, W the width that the head's matrix reads.
"""

from __future__ import annotations

from torch import Tensor, nn

from archcalc.nn.head import Head
from archcalc.run.pack.panels import Panels


class Packed(nn.Module):
    """A module whose matrix is in panels."""

    def __init__(self, panels: Panels) -> None:
        super().__init__()
        self.panels = panels


class PackedLinear(Packed):
    """x·Wᵀ + b with a packed W; `fused` is the matrix that W is a part of, if any."""

    bias: Tensor | None

    def __init__(self, panels: Panels, bias: Tensor | None, fused: Panels | None = None) -> None:
        super().__init__(panels)
        self.register_buffer("bias", bias)
        self.fused = fused

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., I] to [..., O]."""
        y = product(self.panels, x)
        return y if self.bias is None else y + self.bias


class PackedTable(Packed):
    """A packed token table; a tied head reads it too."""

    weight = None  # the canonical head gets it as an argument; the packed one does not read it

    def forward(self, ids: Tensor) -> Tensor:
        """Return the rows [..., I] of these ids."""
        return self.panels.rows(ids)


class PackedHead(Packed, Head):
    """A head with a packed matrix; transform, projection and norm are the canonical head's."""

    def __init__(self, head: Head, panels: Panels) -> None:
        nn.Module.__init__(self)
        self.first_row = 0
        self.part, self.panels, self.weight, self.bias = head.part, panels, None, head.bias
        self.transform, self.transform_out, self.norm = head.transform, head.transform_out, head.norm
        self.columns, self.width = head.columns, head.width
        self.project, self.pick_before, self.pick_after = head.project, head.pick_before, head.pick_after
        self.register_buffer("bias_buffer", head.bias_buffer)

    def scores(self, x_BTW: Tensor, tokens_VW: Tensor | None) -> Tensor:
        """Return logits [B, T, O] of projected states [B, T, W]."""
        logits_BTO = product(self.panels, x_BTW)
        return logits_BTO if self.bias is None else logits_BTO + self.bias


def product(panels: Panels, x: Tensor) -> Tensor:
    """Return the product [..., O] with inputs [..., I], in float32."""
    return panels.product(x.reshape(-1, x.shape[-1])).float().view(*x.shape[:-1], panels.n_out)
