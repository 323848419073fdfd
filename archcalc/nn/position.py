"""Position embeddings: a table next to the token table.

Axes: T tokens, W the table's width.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from archcalc.nn.linear import EmbeddingTable
from archcalc.spec import Spec
from archcalc.spec import position as spec


class Learned(EmbeddingTable):
    """A trained table [n_ctx + n_extra, W]; the extra rows come first (OPT's and RoBERTa's code)."""

    def __init__(self, part: spec.Learned, model: Spec, width: int) -> None:
        super().__init__(model.n_ctx + part.n_extra, width)
        self.n_extra = part.n_extra

    def forward(self, positions_T: Tensor) -> Tensor:
        """Return the rows [T, W] of positions [T]."""
        return super().forward(positions_T + self.n_extra)


class Sinusoidal(nn.Module):
    """Sines and cosines of each position (Vaswani et al. 2017, section 3.5), computed in each pass."""

    def __init__(self, part: spec.Sinusoidal, model: Spec, width: int) -> None:
        super().__init__()
        self.part, self.width = part, width

    def forward(self, positions_T: Tensor) -> Tensor:
        """Return the rows [T, W] of positions [T]."""
        return ORDERS[self.part.order](positions_T + self.part.n_extra, self.width)


class StoredSinusoidal(nn.Module):
    """Sines and cosines as a frozen table [n_ctx + n_extra, W]."""

    def __init__(self, part: spec.Sinusoidal, model: Spec, width: int) -> None:
        super().__init__()
        self.part = part
        self.weight = nn.Parameter(torch.empty(model.n_ctx + part.n_extra, width), requires_grad=False)

    def forward(self, positions_T: Tensor) -> Tensor:
        """Return the rows [T, W] of positions [T]."""
        return self.weight[positions_T + self.part.n_extra]

    def values(self, device: torch.device) -> Tensor:
        """Return the table's values, on this device."""
        rows, width = self.weight.shape
        return table_rows(self.part, rows, width, device)


def table_rows(part: spec.Sinusoidal, n_rows: int, width: int, device: torch.device | str = "cpu") -> Tensor:
    """Return the first rows [n_rows, W] of a stored table; fairseq's row of padding is zero."""
    rows = ORDERS[part.order](torch.arange(n_rows, device=device), width)
    if part.order == "fairseq" and part.n_extra:
        rows[part.n_extra - 1] = 0.0
    return rows


def sinusoids(positions_T: Tensor, width: int) -> Tensor:
    """Return [T, W]: sin in even, cos in odd columns, wavelengths from 2π to 10,000·2π (Vaswani et al. 2017)."""
    exponents = torch.arange(0, width, 2, device=positions_T.device).float() / width
    angles = positions_T.float().unsqueeze(-1) / 10_000.0**exponents
    return torch.stack((angles.sin(), angles.cos()), -1).flatten(-2)[..., :width]


def half_sinusoids(positions_T: Tensor, width: int) -> Tensor:
    """Return [T, W]: the same columns, sines before cosines (CTRL's and Marian's code)."""
    rows = sinusoids(positions_T, width)
    return torch.cat((rows[..., 0::2], rows[..., 1::2]), -1)


def fairseq_sinusoids(positions_T: Tensor, width: int) -> Tensor:
    """Return [T, W]: sines, then cosines, wavelengths from 2π to exactly 10,000·2π; an odd width ends in zeros."""
    half = width // 2
    steps = torch.arange(half, device=positions_T.device).float() * -(math.log(10_000.0) / max(half - 1, 1))
    angles = positions_T.float().unsqueeze(-1) * steps.exp()
    return torch.nn.functional.pad(torch.cat((angles.sin(), angles.cos()), -1), (0, width % 2))


ORDERS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "alternating": sinusoids,
    "halves": half_sinusoids,
    "fairseq": fairseq_sinusoids,
}


def _sinusoidal(part: spec.Sinusoidal, model: Spec, width: int) -> nn.Module:
    return StoredSinusoidal(part, model, width) if part.stored else Sinusoidal(part, model, width)


POSITIONS: dict[type, Callable[[Any, Spec, int], nn.Module]] = {
    spec.Learned: Learned,
    spec.Sinusoidal: _sinusoidal,
}
