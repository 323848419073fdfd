"""Shard a canonical module with FSDP2: split every parameter along its first axis, gather it when its layer runs."""

from __future__ import annotations

import warnings
from typing import Any

from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

from archcalc.nn.block import Block
from archcalc.nn.model import EncoderDecoder


def shard(model: Any, mesh: DeviceMesh) -> None:
    """Shard a module on the meta device; each layer is gathered by itself, everything outside layers together.

    Methods other than `forward` gather too: the cross-attentions that fill a decoder's cache.
    """
    # It warns of changing the model's output in place, which nothing here does.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
    blocks = [module for module in model.modules() if isinstance(module, Block)]
    for block in blocks:
        for cross in (block.get_submodule(arm.name) for arm in block.arms if arm.reads == "source"):
            fully_shard(cross, mesh=mesh)
            register_fsdp_forward_method(cross, "source_keys_values")
    for block in blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh, reshard_after_forward=True)
    register_fsdp_forward_method(model, "multi_token_logits")
    if isinstance(model, EncoderDecoder):
        register_fsdp_forward_method(model, "encode")
