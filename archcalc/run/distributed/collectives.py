"""Communication between ranks, forward and backward, expressed as DTensor placements.

Axes: B batch, T tokens, D model, V vocab.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard


def copy_to_ranks(x: Tensor, mesh: DeviceMesh) -> Tensor:
    """Return `x`, to be used by each rank for its own part; its gradients are summed over ranks."""
    if not (torch.is_grad_enabled() and x.requires_grad):
        return x
    return DTensor.from_local(x, mesh, [Replicate()], run_check=False).to_local(grad_placements=[Partial()])


def sum_over_ranks(x: Tensor, mesh: DeviceMesh) -> Tensor:
    """Return the sum of `x` over ranks; each rank gets its gradient."""
    if torch.is_grad_enabled() and x.requires_grad:
        tensor = DTensor.from_local(x, mesh, [Partial()], run_check=False)
        return tensor.redistribute(mesh, [Replicate()]).to_local()
    x = x.contiguous()
    dist.all_reduce(x, group=mesh.get_group())
    return x


def gather_over_ranks(x_BTv: Tensor, width: int, mesh: DeviceMesh) -> Tensor:
    """Return [B, T, V] of this width, concatenated from the ranks' parts [B, T, v], which may differ in size."""
    shape = torch.Size((*x_BTv.shape[:-1], width))
    stride = torch.empty(shape, device="meta").stride()
    tensor = DTensor.from_local(
        x_BTv.contiguous(), mesh, [Shard(x_BTv.dim() - 1)], run_check=False, shape=shape, stride=stride
    )
    return tensor.full_tensor()
