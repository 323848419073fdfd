"""The ways in which a model's forward pass can be carried out; all compute the same."""

from __future__ import annotations

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from archcalc.nn.sight import View
from archcalc.spec.execution import Execution


def carry_out(model: nn.Module, how: Execution) -> None:
    """Have every part of a model run in this way from now on."""
    for module in model.modules():
        if hasattr(module, "how"):
            module.how = how  # type: ignore[assignment]


def through(block: nn.Module, x_BTD: Tensor, view: View, how: Execution) -> Tensor:
    """A layer's states [B, T, D]; in training it may keep its inputs alone, and is run again in the backward pass."""
    if how.recompute != "full" or not block.training:
        y_BTD: Tensor = block(x_BTD, view)
        return y_BTD
    states = view.source and view.source.states
    again: Tensor = checkpoint(lambda x, states: block(x, view.anew(states)), x_BTD, states, use_reentrant=False)
    return again
