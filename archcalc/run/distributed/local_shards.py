"""The part of each tensor that this process holds, whether or not other ranks hold the rest."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, Shard

from archcalc.checkpoint.tensor_shard import TensorShard


def local_shards(model: nn.Module) -> dict[str, TensorShard]:
    """Return this rank's part of each tensor, by canonical name."""
    return {name: local_shard(tensor) for name, tensor in model.state_dict(keep_vars=True).items()}


def local_tensor(tensor: Tensor) -> Tensor:
    """Return the values of a tensor that this rank holds."""
    detached: Tensor = tensor.detach()
    return detached.to_local() if isinstance(detached, DTensor) else detached


def local_shard(tensor: Tensor) -> TensorShard:
    """Return this rank's part of a tensor: ⌈size / ranks⌉ in turn, the last ranks what is left."""
    if not isinstance(tensor, DTensor) or not isinstance(placement := tensor.placements[0], Shard):
        return TensorShard.of(local_tensor(tensor))
    size, mesh = tensor.shape[placement.dim], tensor.device_mesh
    first = min(-(-size // mesh.size()) * mesh.get_local_rank(), size)
    return TensorShard(local_tensor(tensor), tuple(tensor.shape), placement.dim, first)


@torch.no_grad()
def shard_like(weight: Tensor, values: Tensor) -> Tensor:
    """Return a whole tensor's values, distributed over ranks as `weight` is."""
    sharded = torch.empty_like(weight)
    local_shard(sharded).put(0, 0, values)
    return sharded.detach()
