"""Two modules of layers that run in turn, each on a state of its own.

Axes: B batch, T tokens, D model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from archcalc.nn.taps.points import tap
from archcalc.spec import Spec
from archcalc.spec.cycles import is_high
from archcalc.spec.layer import Cycles as CyclesPart


class Cycles(nn.Module):
    """The first low state, a vector that is not trained; every run has `n_layers` layers."""

    def __init__(self, part: CyclesPart, n_layers: int, model: Spec) -> None:
        super().__init__()
        self.part, self.n_layers = part, n_layers
        self.start = nn.Parameter(torch.empty(model.d_model), requires_grad=False)

    def states(self, x_BTD: Tensor, prefix: str, norm: Callable[[Tensor], Tensor]) -> CycleStates:
        """Return the states of both modules before the first layer, which would read `x_BTD` without cycles."""
        return CycleStates(self.part, self.n_layers, prefix, norm, x_BTD, self.start.to(x_BTD.dtype).expand_as(x_BTD))


@dataclass
class CycleStates:
    """The states of both modules [B, T, D] in a pass; `norm` is applied to the output of a run."""

    part: CyclesPart
    n_layers: int
    prefix: str
    norm: Callable[[Tensor], Tensor]
    high: Tensor
    low: Tensor

    def layer_input(self, turn: int, x_BTD: Tensor) -> Tensor:
        """Return what the layer of this turn reads: at the start of a run both states, else the layer before."""
        return x_BTD if turn % self.n_layers else self.high + self.low

    def update(self, turn: int, x_BTD: Tensor) -> None:
        """Keep the output of a layer if a run ends with it; the last run's is left to the stack."""
        run, place = divmod(turn + 1, self.n_layers)
        if place or run == self.part.n_runs:
            return
        state_BTD = tap(f"{self.prefix}cycles.{run - 1}", self.norm(x_BTD))
        if is_high(self.part, run - 1):
            self.high = state_BTD
        else:
            self.low = state_BTD
