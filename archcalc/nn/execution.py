"""The ways in which a model's forward pass can be carried out; all compute the same."""

from __future__ import annotations

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from archcalc.nn.held import Pair
from archcalc.nn.sight import View
from archcalc.spec.execution import Execution


def carry_out(model: nn.Module, how: Execution) -> None:
    """Have every part of a model run in this way from now on."""
    for module in model.modules():
        if hasattr(module, "how"):
            module.how = how  # type: ignore[assignment]


def through(block: nn.Module, x_BTD: Tensor, view: View, how: Execution) -> Tensor:
    """A layer's states [B, T, D]; in training it may keep its inputs alone, and is run again in the backward pass.

    Keys and values that it shares are inputs, those that it lends are outputs.
    """
    y_BTD: Tensor
    if how.recompute != "full" or not block.training:
        y_BTD = block(x_BTD, view)
        return y_BTD

    def run(x_BTD: Tensor, states_BSD: Tensor | None, *flat: Tensor) -> tuple[Tensor, dict[str, Pair | None]]:
        shared = dict(zip(view.shared, zip(flat[::2], flat[1::2], strict=True), strict=True))
        again = view.anew(states_BSD, shared)
        return block(x_BTD, again), again.lent

    states_BSD, flat = view.source and view.source.states, [x for pair in view.shared.values() for x in pair]
    y_BTD, lent = checkpoint(run, x_BTD, states_BSD, *flat, use_reentrant=False)
    view.lent.update(lent)
    return y_BTD
