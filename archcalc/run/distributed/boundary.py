"""What stands between a part that ranks share and the rest of a model, which each computes for itself.

Axes: B batch, T tokens, W the table's width, v a rank's own tokens of the vocabulary, N heads, S key tokens.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh

from archcalc.nn.attention_context import AlibiBias, AttentionContext
from archcalc.nn.linear import EmbeddingTable
from archcalc.run.distributed.collectives import copied, summed


@dataclasses.dataclass(frozen=True)
class OwnPenalty:
    """ALiBi's penalties of a rank's own heads, of `n_heads` in all."""

    penalty: AlibiBias
    n_heads: int
    rank: int

    def __call__(self, sight: AttentionContext, n_own: int) -> Tensor:
        """The penalty [N, T, S] of these heads."""
        return self.penalty(sight, self.n_heads).narrow(0, self.rank * n_own, n_own)


class Vocabulary(EmbeddingTable):
    """The rows of a rank's tokens; of the others' it knows nothing, and the sum over ranks has all."""

    def __init__(self, table: EmbeddingTable, mesh: DeviceMesh) -> None:
        super().__init__(table.num_embeddings, table.embedding_dim, device="meta")
        self.weight, self.mesh = table.weight, mesh

    def forward(self, ids_BT: Tensor) -> Tensor:
        """Rows [B, T, W] of token ids [B, T]."""
        rows_vW, each = self.weight, -(-self.num_embeddings // self.mesh.size())
        if not len(rows_vW):
            return summed(rows_vW.sum() + rows_vW.new_zeros(*ids_BT.shape, self.embedding_dim), self.mesh)
        own_BT = ids_BT - each * self.mesh.get_local_rank()
        other_BT = (own_BT < 0) | (own_BT >= len(rows_vW))
        found_BTW = F.embedding(own_BT.masked_fill(other_BT, 0), rows_vW)
        return summed(found_BTW.masked_fill(other_BT.unsqueeze(-1), 0.0), self.mesh)


class Border:
    """About a part of which each rank computes its share: states enter on all ranks, and leave as the ranks' sum.

    What is dropped within is drawn by each rank for itself; outside, all ranks go on drawing alike.
    """

    def __init__(self, mesh: DeviceMesh) -> None:
        self.mesh = mesh
        self.dice: Tensor | None = None

    def enter(self, part: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The same states, whose gradients are to be summed."""
        if part.training:
            seed = int(torch.randint(2**62, ()))
            self.dice = torch.get_rng_state()
            torch.manual_seed(seed + self.mesh.get_local_rank())
        return tuple(self._entered(arg) for arg in args)

    def leave(self, part: nn.Module, args: tuple[Any, ...], y: Tensor) -> Tensor:
        """The sum over ranks."""
        if self.dice is not None:
            torch.set_rng_state(self.dice)
            self.dice = None
        return summed(y, self.mesh)

    def _entered(self, arg: Any) -> Any:
        if isinstance(arg, Tensor) and arg.is_floating_point():
            return copied(arg, self.mesh)
        if isinstance(arg, AttentionContext) and arg.states is not None:
            return dataclasses.replace(arg, states=copied(arg.states, self.mesh))
        return arg
