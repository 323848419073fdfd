"""Torch's layers with matrices, left uninitialized: `archcalc.nn.initialization` fills them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Linear(nn.Linear):
    """x·Wᵀ + b with W [out, in]; uninitialized."""

    def reset_parameters(self) -> None:
        """Leave the weights as they are."""


class GroupedLinear(nn.Module):
    """A Linear whose outputs are in groups, each of which reads its own channels: weight [out, block, 1], bias [out].

    Axes: G groups, Z all tokens, i and o channels of one group.
    """

    bias: nn.Parameter | None

    def __init__(self, d_out: int, block: int, bias: bool) -> None:
        super().__init__()
        self.block = block
        self.weight = nn.Parameter(torch.empty(d_out, block, 1))
        self.bias = nn.Parameter(torch.empty(d_out)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., in] to [..., out]."""
        x_GZi = x.reshape(-1, x.shape[-1] // self.block, self.block).transpose(0, 1)
        weight_Gio = self.weight.view(len(x_GZi), -1, self.block).transpose(1, 2)
        y = torch.bmm(x_GZi, weight_Gio).transpose(0, 1).reshape(*x.shape[:-1], -1)
        return y if self.bias is None else y + self.bias


def linear(d_in: int, d_out: int, *, bias: bool, block: int | None = None) -> Linear | GroupedLinear:
    """Return a projection: grouped if each output reads only a `block` of channels."""
    return Linear(d_in, d_out, bias=bias) if block is None else GroupedLinear(d_out, block, bias)


def dense_weight(projection: Linear | GroupedLinear, d_in: int) -> Tensor:
    """Return the matrix [out, in] of a projection; a grouped one has zeros outside its blocks."""
    if isinstance(projection, Linear):
        return projection.weight
    blocks_Goi = projection.weight.view(d_in // projection.block, -1, projection.block)
    is_own_GG = torch.eye(len(blocks_Goi), dtype=blocks_Goi.dtype, device=blocks_Goi.device)
    return (is_own_GG[:, None, :, None] * blocks_Goi[:, :, None]).reshape(-1, d_in)


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


class LowRankPairs(nn.Module):
    """up(down(x)) by one of several pairs of matrices: down [n, rank, in], up [n, out, rank]."""

    def __init__(self, n_pairs: int, d_in: int, rank: int, d_out: int) -> None:
        super().__init__()
        self.down = AdapterLinear(n_pairs, 0, d_in, rank, bias=False)
        self.up = AdapterLinear(n_pairs, 0, rank, d_out, bias=False)

    def forward(self, x_BTi: Tensor, pair: int) -> Tensor:
        """Map [B, T, in] to [B, T, out] by the pair with this index."""
        y_BTo: Tensor = F.linear(F.linear(x_BTi, self.down.weight[pair]), self.up.weight[pair])
        return y_BTo
