"""A rank's part of a model: room for it alone, and its weights, drawn or read shard by shard."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, Shard

from archcalc.checkpoint.target import Target
from archcalc.nn.initial import first_values
from archcalc.run.distributed.fully_sharded import shard
from archcalc.run.distributed.launch import Ranks
from archcalc.run.distributed.tensor import parallelise


def spread(model: Any, ranks: Ranks) -> None:
    """Make a module on the meta device this rank's part of it, with room for that part alone, not yet filled.

    Raises InputError where the ranks cannot share it.
    """
    if ranks.engine == "fsdp":
        shard(model, ranks.mesh)
        model.to_empty(device=ranks.device)
        return
    parallelise(model, ranks.mesh)
    for module in model.modules():
        for own in (module._parameters, module._buffers):
            for name, old in own.items():
                if old is not None:
                    own[name] = _room(old, ranks.device)


def targets(model: nn.Module) -> dict[str, Target]:
    """Where this rank's part of each tensor goes, by canonical name."""
    return {name: _target(tensor) for name, tensor in model.state_dict(keep_vars=True).items()}


@torch.no_grad()
def draw(model: nn.Module, seed: int) -> None:
    """First values: those that one process would draw with this seed, one tensor after the other."""
    torch.manual_seed(seed)
    for module in model.modules():
        own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        for name, tensor in own:
            whole = torch.empty(tensor.shape, dtype=tensor.dtype, device=tensor.device)
            first_values(module, name, whole)
            _target(tensor).put(0, 0, whole)


def local(tensor: Tensor) -> Tensor:
    """What this rank has of a tensor."""
    here: Tensor = tensor.detach()
    return here.to_local() if isinstance(here, DTensor) else here


def _room(old: Tensor, device: torch.device) -> Tensor:
    new = torch.empty(local(old).shape, dtype=old.dtype, device=device)
    if not isinstance(old, DTensor):
        return new
    spread = DTensor.from_local(
        new, old.device_mesh, old.placements, run_check=False, shape=old.shape, stride=old.stride()
    )
    return nn.Parameter(spread, old.requires_grad)


def _target(tensor: Tensor) -> Target:
    """Ranks get ⌈size / ranks⌉ in turn, the last what is left."""
    if not isinstance(tensor, DTensor) or not isinstance(place := tensor.placements[0], Shard):
        return Target.of(local(tensor))
    size, mesh = tensor.shape[place.dim], tensor.device_mesh
    first = min(-(-size // mesh.size()) * mesh.get_local_rank(), size)
    return Target(local(tensor), tuple(tensor.shape), place.dim, first)
