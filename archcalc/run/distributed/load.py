"""A rank's part of a model: room for it alone, and its weights, drawn or read shard by shard."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from archcalc.nn.initialization import initialize_tensor
from archcalc.run.devices import Ranks
from archcalc.run.distributed.fsdp import shard
from archcalc.run.distributed.parts import local, target_of
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


@torch.no_grad()
def draw(model: nn.Module, seed: int) -> None:
    """First values: those that one process would draw with this seed, one tensor after the other."""
    torch.manual_seed(seed)
    for module in model.modules():
        own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        for name, tensor in own:
            whole = torch.empty(tensor.shape, dtype=tensor.dtype, device=tensor.device)
            initialize_tensor(module, name, whole)
            target_of(tensor).put(0, 0, whole)


def _room(old: Tensor, device: torch.device) -> Tensor:
    new = torch.empty(local(old).shape, dtype=old.dtype, device=device)
    if not isinstance(old, DTensor):
        return new
    spread = DTensor.from_local(
        new, old.device_mesh, old.placements, run_check=False, shape=old.shape, stride=old.stride()
    )
    return nn.Parameter(spread, old.requires_grad)
