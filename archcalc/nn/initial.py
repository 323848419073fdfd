"""First values of a model's weights: matrices normal (0.02), norms the identity, biases and sinks zero."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from archcalc.nn.norm import LayerNorm, RMSNorm
from archcalc.nn.position import StoredSinusoidal, sinusoids

STANDARD_DEVIATION = 0.02  # Radford et al. 2018, section 4.1

_ZEROS = {"bias", "sinks", "correction_bias", "bias_buffer"}


@torch.no_grad()
def initialise(model: nn.Module) -> None:
    """Fill every parameter and buffer of a model on a real device."""
    for module in model.modules():
        own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        for name, tensor in own:
            first_values(module, name, tensor)


def first_values(module: nn.Module, name: str, tensor: Tensor) -> None:
    """Fill a tensor as the parameter or buffer of this name in this module begins."""
    if name in _ZEROS:
        tensor.zero_()
    elif isinstance(module, LayerNorm | RMSNorm):
        tensor.fill_(0.0 if isinstance(module, RMSNorm) and module.unit_offset else 1.0)
    elif isinstance(module, StoredSinusoidal):
        rows, width = tensor.shape
        tensor.copy_(sinusoids(torch.arange(rows, device=tensor.device), width))
    else:
        tensor.normal_(std=STANDARD_DEVIATION)
