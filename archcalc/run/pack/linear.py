"""The modules that stand where matrices stood.

Axes: B batch, T tokens, I inputs, O outputs, D model, V vocab, W the width that the head's matrix reads.
"""

from __future__ import annotations

from torch import Tensor, nn

from archcalc.nn.head import Head
from archcalc.nn.softmax import softcapped
from archcalc.run.pack.panels import Panels


class Packed(nn.Module):
    """A module whose matrix is in panels."""

    def __init__(self, panels: Panels) -> None:
        super().__init__()
        self.panels = panels


class PackedLinear(Packed):
    """x·Wᵀ + b of a packed W; `whole` is the matrix that W is a part of, where several lie together."""

    def __init__(self, panels: Panels, bias: Tensor | None, whole: Panels | None = None) -> None:
        super().__init__(panels)
        self.bias, self.whole = bias, whole

    def forward(self, x: Tensor) -> Tensor:
        """[..., O] of [..., I]."""
        y = self.panels.product(x.reshape(-1, x.shape[-1])).view(*x.shape[:-1], -1)
        return y if self.bias is None else y + self.bias


class PackedTable(Packed):
    """A table of tokens, packed: the head's matrix too where the two are one."""

    weight = None  # what the canonical head is handed, and the packed one does not read

    def forward(self, ids: Tensor) -> Tensor:
        """The rows [..., I] of these ids."""
        return self.panels.rows(ids)


class PackedHead(Packed):
    """A head that reads a packed matrix."""

    def __init__(self, head: Head, panels: Panels) -> None:
        super().__init__(panels)
        self.head = head

    def forward(self, x_BTD: Tensor, tokens_VW: None) -> Tensor:
        """Logits [B, T, V] of states [B, T, D]."""
        part, bias = self.head.part, self.head.bias
        x_BTW = self.head._narrowed(x_BTD if part.scale is None else x_BTD * part.scale)
        logits_BTV = self.panels.product(x_BTW.reshape(-1, x_BTW.shape[-1])).view(*x_BTW.shape[:-1], -1)
        if bias is not None:
            logits_BTV = logits_BTV + bias
        return logits_BTV if part.softcap is None else softcapped(logits_BTV, part.softcap)
