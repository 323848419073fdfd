"""What passes between ranks, forward and backward, said as DTensors: what each rank holds, and what it should.

Axes: B batch, T tokens, D model, V vocab.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard


def copied(x: Tensor, mesh: DeviceMesh) -> Tensor:
    """The same, read by every rank for its own part of what follows: gradients are summed over ranks."""
    if not (torch.is_grad_enabled() and x.requires_grad):
        return x
    return DTensor.from_local(x, mesh, [Replicate()], run_check=False).to_local(grad_placements=[Partial()])


def summed(x: Tensor, mesh: DeviceMesh) -> Tensor:
    """The sum of what the ranks have; each gets its gradient."""
    if torch.is_grad_enabled() and x.requires_grad:
        spread = DTensor.from_local(x, mesh, [Partial()], run_check=False)
        return spread.redistribute(mesh, [Replicate()]).to_local()
    x = x.contiguous()
    dist.all_reduce(x, group=mesh.get_group())
    return x


def gathered(x_BTv: Tensor, width: int, mesh: DeviceMesh) -> Tensor:
    """[B, T, V], this wide, of the ranks' parts [B, T, v] in turn; parts need not be alike."""
    shape = torch.Size((*x_BTv.shape[:-1], width))
    stride = torch.empty(shape, device="meta").stride()
    spread = DTensor.from_local(
        x_BTv.contiguous(), mesh, [Shard(x_BTv.dim() - 1)], run_check=False, shape=shape, stride=stride
    )
    return spread.full_tensor()
