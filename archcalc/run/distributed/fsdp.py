"""FSDP2 over a canonical module: every parameter split along its first axis, gathered layer by layer when used."""

from __future__ import annotations

import warnings
from typing import Any

from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

from archcalc.nn.block import Block
from archcalc.nn.model import EncoderDecoder


def shard(model: Any, mesh: DeviceMesh) -> None:
    """Shard a module on the meta device: each layer is gathered on its own, what stands about them together.

    What is called beside `forward` gathers too: a decoder's cache is filled by its cross-attentions alone.
    """
    # What it warns of, a change of the model's result in place, nothing here does.
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
