"""The modules that stand where matrices stood.

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
    """x·Wᵀ + b of a packed W; `whole` is the matrix that W is a part of, where several lie together."""

    bias: Tensor | None

    def __init__(self, panels: Panels, bias: Tensor | None, whole: Panels | None = None) -> None:
        super().__init__(panels)
        self.register_buffer("bias", bias)
        self.whole = whole

    def forward(self, x: Tensor) -> Tensor:
        """[..., O] of [..., I]."""
        y = product(self.panels, x)
        return y if self.bias is None else y + self.bias


class PackedTable(Packed):
    """A table of tokens, packed: the head's matrix too where the two are one."""

    weight = None  # what the canonical head is handed, and the packed one does not read

    def forward(self, ids: Tensor) -> Tensor:
        """The rows [..., I] of these ids."""
        return self.panels.rows(ids)


class PackedHead(Packed, Head):
    """A head that reads a packed matrix; what stands before that is the canonical one's."""

    def __init__(self, head: Head, panels: Panels) -> None:
        nn.Module.__init__(self)
        self.first_row = 0
        self.part, self.panels, self.weight, self.bias = head.part, panels, None, head.bias
        self.transform, self.transform_out, self.norm = head.transform, head.transform_out, head.norm
        self.project, self.before, self.after = head.project, head.before, head.after
        self.register_buffer("bias_buffer", head.bias_buffer)

    def scores(self, x_BTW: Tensor, tokens_VW: Tensor | None) -> Tensor:
        """Logits [B, T, O] of narrowed states [B, T, W]."""
        logits_BTO = product(self.panels, x_BTW)
        return logits_BTO if self.bias is None else logits_BTO + self.bias


def product(panels: Panels, x: Tensor) -> Tensor:
    """[..., O] of [..., I], in float32."""
    return panels.product(x.reshape(-1, x.shape[-1])).float().view(*x.shape[:-1], panels.n_out)
