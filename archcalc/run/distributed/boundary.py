"""Connect a part that ranks share with the rest of the model, which every rank computes.

Axes: B batch, T tokens, W the table's width, v vocabulary tokens of one rank, N heads, S key tokens.
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
from archcalc.run.distributed.collectives import copy_to_ranks, sum_over_ranks


@dataclasses.dataclass(frozen=True)
class LocalPenalty:
    """ALiBi's penalties of this rank's heads, out of `n_heads`."""

    penalty: AlibiBias
    n_heads: int
    rank: int

    def __call__(self, sight: AttentionContext, n_local: int) -> Tensor:
        """Return the penalty [N, T, S] of these heads."""
        return self.penalty(sight, self.n_heads).narrow(0, self.rank * n_local, n_local)


class VocabularyShard(EmbeddingTable):
    """The rows of a token table that this rank holds; the sum over ranks has every row."""

    def __init__(self, table: EmbeddingTable, mesh: DeviceMesh) -> None:
        super().__init__(table.num_embeddings, table.embedding_dim, device="meta")
        self.weight, self.mesh = table.weight, mesh

    def forward(self, ids_BT: Tensor) -> Tensor:
        """Return rows [B, T, W] of token ids [B, T]."""
        rows_vW, n_each = self.weight, -(-self.num_embeddings // self.mesh.size())
        if not len(rows_vW):
            return sum_over_ranks(rows_vW.sum() + rows_vW.new_zeros(*ids_BT.shape, self.embedding_dim), self.mesh)
        local_BT = ids_BT - n_each * self.mesh.get_local_rank()
        remote_BT = (local_BT < 0) | (local_BT >= len(rows_vW))
        local_BTW = F.embedding(local_BT.masked_fill(remote_BT, 0), rows_vW)
        return sum_over_ranks(local_BTW.masked_fill(remote_BT.unsqueeze(-1), 0.0), self.mesh)


class PartBoundary:
    """Hooks around a part that ranks share: copy its inputs to all ranks, and sum its outputs over them.

    Inside, each rank draws its own dropout; outside, all ranks draw the same.
    """

    def __init__(self, mesh: DeviceMesh) -> None:
        self.mesh = mesh
        self.rng_state: Tensor | None = None

    def enter(self, part: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the same states; their gradients are summed over ranks."""
        if part.training:
            seed = int(torch.randint(2**62, ()))
            self.rng_state = torch.get_rng_state()
            torch.manual_seed(seed + self.mesh.get_local_rank())
        return tuple(self._copy(arg) for arg in args)

    def leave(self, part: nn.Module, args: tuple[Any, ...], y: Tensor) -> Tensor:
        """Return the sum over ranks."""
        if self.rng_state is not None:
            torch.set_rng_state(self.rng_state)
            self.rng_state = None
        return sum_over_ranks(y, self.mesh)

    def _copy(self, arg: Any) -> Any:
        if isinstance(arg, Tensor) and arg.is_floating_point():
            return copy_to_ranks(arg, self.mesh)
        if isinstance(arg, AttentionContext) and arg.states is not None:
            return dataclasses.replace(arg, states=copy_to_ranks(arg.states, self.mesh))
        return arg
