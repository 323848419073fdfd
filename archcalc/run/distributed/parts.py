"""What of each tensor this process has, whether it shares the model with others or not."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, Shard

from archcalc.checkpoint.target import Target


def targets(model: nn.Module) -> dict[str, Target]:
    """Where this rank's part of each tensor goes, by canonical name."""
    return {name: target_of(tensor) for name, tensor in model.state_dict(keep_vars=True).items()}


def local(tensor: Tensor) -> Tensor:
    """What this rank has of a tensor."""
    here: Tensor = tensor.detach()
    return here.to_local() if isinstance(here, DTensor) else here


def target_of(tensor: Tensor) -> Target:
    """Ranks get ⌈size / ranks⌉ in turn, the last what is left."""
    if not isinstance(tensor, DTensor) or not isinstance(place := tensor.placements[0], Shard):
        return Target.of(local(tensor))
    size, mesh = tensor.shape[place.dim], tensor.device_mesh
    first = min(-(-size // mesh.size()) * mesh.get_local_rank(), size)
    return Target(local(tensor), tuple(tensor.shape), place.dim, first)


@torch.no_grad()
def like(weight: Tensor, numbers: Tensor) -> Tensor:
    """A whole tensor's numbers, laid out over processes as a weight of that shape is."""
    spread = torch.empty_like(weight)
    target_of(spread).put(0, 0, numbers)
    return spread.detach()
