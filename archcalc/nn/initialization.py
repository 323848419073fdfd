"""Initialization: matrices normal (0.02), norms to the identity, biases and sinks to zero."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from archcalc.nn.activation import Xielu
from archcalc.nn.norm import Affine, GroupNorm, HeadNorm, LayerNorm, PieceNorm, RMSNorm
from archcalc.nn.position import StoredSinusoidal
from archcalc.nn.rope import RotaryTable
from archcalc.nn.scaling import ChannelScale

STANDARD_DEVIATION = 0.02  # Radford et al. 2018, section 4.1

_ZEROS = {"bias", "sinks", "correction_bias", "gate_bias", "out_bias", "decay_bias", "dt_bias", "bias_buffer"}
_ZEROS |= {"start", "input_gate_bias", "decay_gate_bias"}
_ONES = {"out_scalar", "out_scale", "expert_scales", "scale", "rate", "weight_scale", "temperature", "state_scale"}
_ONES |= {"q_scale", "r_scale"}


@torch.no_grad()
def initialize(model: nn.Module) -> None:
    """Initialize every parameter and buffer of a model on a real device."""
    for module in model.modules():
        own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        for name, tensor in own:
            initialize_tensor(module, name, tensor)


def initialize_tensor(module: nn.Module, name: str, tensor: Tensor) -> None:
    """Initialize the parameter or buffer of this name in this module."""
    if not tensor.is_floating_point():
        # The experts of each token: different ones, in turn.
        tensor.copy_(torch.arange(len(tensor)).unsqueeze(1) + torch.arange(tensor.shape[1]))
        tensor.remainder_(module.part.n_experts)  # type: ignore[union-attr, arg-type]
    elif name in _ZEROS:
        tensor.zero_()
    elif name in _ONES:
        tensor.fill_(1.0)
    elif isinstance(module, Affine | GroupNorm | HeadNorm | LayerNorm | PieceNorm | RMSNorm):
        tensor.fill_(0.0 if getattr(module, "unit_offset", False) else 1.0)
    elif isinstance(module, ChannelScale):
        tensor.fill_(1.0)
    elif isinstance(module, Xielu):
        tensor.fill_(module.FIRST_VALUES[name])
    elif isinstance(module, StoredSinusoidal | RotaryTable):
        tensor.copy_(module.values(tensor.device))
    else:
        tensor.normal_(std=STANDARD_DEVIATION)
