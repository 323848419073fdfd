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

    Methods other than `forward` gather too: the cross-attentions that fill a decoder's cache. Modules that several
    layers use are gathered by themselves.
    """
    # It warns of changing the model's output in place, which nothing here does.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
    blocks = [module for module in model.modules() if isinstance(module, Block)]
    crosses = {block.part_module(arm.name) for block in blocks for arm in block.arms if arm.reads == "source"}
    lent = {block.part_module(name) for block in blocks for name in block.owners}
    for module in crosses | lent:
        fully_shard(module, mesh=mesh)
    for cross in crosses:
        register_fsdp_forward_method(cross, "source_keys_values")
    for block in blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh, reshard_after_forward=True)
    register_fsdp_forward_method(model, "multi_token_logits")
    if isinstance(model, EncoderDecoder):
        register_fsdp_forward_method(model, "encode")
