"""Make a model this rank's part of it: shard it, allocate that part, and initialize it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from archcalc.nn.initialization import initialize_tensor
from archcalc.run.devices import Ranks
from archcalc.run.distributed.fsdp import shard
from archcalc.run.distributed.local_shards import local_shard, local_tensor
from archcalc.run.distributed.tensor_parallel import parallelize


def shard_model(model: Any, ranks: Ranks) -> None:
    """Turn a module on the meta device into this rank's part of it, allocated but not filled.

    Raise InputError if the ranks cannot share it.
    """
    if ranks.engine == "fsdp":
        shard(model, ranks.mesh)
        model.to_empty(device=ranks.device)
        return
    parallelize(model, ranks.mesh)
    for module in model.modules():
        for own in (module._parameters, module._buffers):
            for name, old in own.items():
                if old is not None:
                    own[name] = _empty_like(old, ranks.device)


@torch.no_grad()
def initialize(model: nn.Module, seed: int) -> None:
    """Draw the initial weights that one process would draw with this seed, one tensor at a time."""
    torch.manual_seed(seed)
    for module in model.modules():
        own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        for name, tensor in own:
            values = torch.empty(tensor.shape, dtype=tensor.dtype, device=tensor.device)
            initialize_tensor(module, name, values)
            local_shard(tensor).put(0, 0, values)


def _empty_like(old: Tensor, device: torch.device) -> Tensor:
    new = torch.empty(local_tensor(old).shape, dtype=old.dtype, device=device)
    if not isinstance(old, DTensor):
        return new
    sharded = DTensor.from_local(
        new, old.device_mesh, old.placements, run_check=False, shape=old.shape, stride=old.stride()
    )
    return nn.Parameter(sharded, old.requires_grad)
