"""Alternating updates: several residual streams, of which each layer computes one and changes all.

Axes: B batch, T tokens, J streams, D model.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from archcalc.nn.linear import Linear
from archcalc.nn.norm import norm
from archcalc.nn.taps.points import tap
from archcalc.nn.upcast import upcast
from archcalc.spec import Spec
from archcalc.spec import streams as spec
from archcalc.spec.branches import names
from archcalc.spec.layer import Layer

if TYPE_CHECKING:
    from archcalc.nn.attention_context import LayerContext
    from archcalc.nn.block import Block


class AltUpEnds(nn.Module):
    """The projections of the first layer's input to further streams, and of these to the output of the layers."""

    def __init__(self, part: spec.AltUp, model: Spec) -> None:
        super().__init__()
        others, width = range(part.n_streams - 1), model.d_model
        self.split = nn.ModuleList(Linear(width, width, bias=False) for _ in others)
        self.merge = nn.ModuleList(Linear(width, width, bias=False) for _ in others)

    def streams(self, x_BTD: Tensor) -> Tensor:
        """Return streams [B, T, J, D]: states and their projections, of equal magnitude."""
        return torch.stack([x_BTD, *_rescaled(x_BTD, zip(self.split, [x_BTD] * len(self.split), strict=True))], 2)

    def states(self, x_BTJD: Tensor) -> Tensor:
        """Return states [B, T, D]: the average of the first stream and of the projections of the others."""
        first_BTD, *others = x_BTJD.unbind(2)
        return torch.stack([first_BTD, *_rescaled(first_BTD, zip(self.merge, others, strict=True))]).mean(0)


def _rescaled(first_BTD: Tensor, projections: Iterable[tuple[nn.Module, Tensor]]) -> list[Tensor]:
    """Return each tensor [B, T, D] through its module, with the magnitude of the first."""
    outputs = ((module(x_BTD)) for module, x_BTD in projections)
    return [y_BTD * rescaling(first_BTD, y_BTD) for y_BTD in outputs]


def rescaling(first_D: Tensor, y_D: Tensor) -> Tensor:
    """Return the factor [..., 1] that gives `y_D` the magnitude of the first stream."""
    own = y_D.pow(2).mean(-1, keepdim=True).clamp(min=1e-5).sqrt()
    return first_D.pow(2).mean(-1, keepdim=True).sqrt() / own


class AltUp(nn.Module):
    """What a layer does with all streams, before and after its branches (Baykal et al. 2023, section 3)."""

    def __init__(self, part: spec.AltUp, layer: Layer, model: Spec, index: int) -> None:
        super().__init__()
        self.part, n = part, part.n_streams
        self.norm = norm(part.norm, model.d_model)
        self.router = Linear(model.d_model, n, bias=False)
        self.predict = Linear(n, n * n, bias=False)
        self.correct = Linear(n, n, bias=False)
        self.out_scale = nn.Parameter(torch.empty(model.d_model))

    def forward(self, x_BTJD: Tensor, block: Block, context: LayerContext) -> Tensor:
        """Return the streams [B, T, J, D] after the branches of a block."""
        predicted_BTJD = tap("predicted", self.predicted(x_BTJD))
        y_BTD = block.run_branches(self.active(predicted_BTJD), context)
        x_BTJD = tap("corrected", self.corrected(predicted_BTJD, y_BTD))
        read_BTD = tap("active", self.read(x_BTJD)) if block.later_branches else y_BTD
        for branch in block.later_branches:
            branch_names = names(branch)
            normed_BTD = block.branch_input(branch_names, read_BTD)
            for out_BTD in block.arm_outputs(branch, branch_names, {branch.arms[0].name: normed_BTD}, context):
                x_BTJD = add_to_later(x_BTJD, out_BTD)
        return tap("streams", x_BTJD)

    def predicted(self, x_BTJD: Tensor) -> Tensor:
        """Return the predicted streams [B, T, J, D]: each with a mix of all added."""
        return x_BTJD + self.mix(x_BTJD) @ x_BTJD

    def mix(self, x_BTJD: Tensor) -> Tensor:
        """Return the weights [B, T, J, K] of stream K in what is added to stream J."""
        weights_BTZ: Tensor = self.predict(self._routed(self.active(x_BTJD)))
        return weights_BTZ.view(*x_BTJD.shape[:3], x_BTJD.shape[2])

    def corrected(self, predicted_BTJD: Tensor, y_BTD: Tensor) -> Tensor:
        """Return the streams [B, T, J, D] with a share of what the layer changed in the active one."""
        innovation_BTD = y_BTD - self.active(predicted_BTJD)
        return predicted_BTJD + innovation_BTD.unsqueeze(2) * self.rates(y_BTD).unsqueeze(-1)

    def rates(self, y_BTD: Tensor) -> Tensor:
        """Return the share [B, T, J] that each stream gets of what the layer changed, of its output."""
        rates_BTJ: Tensor = self.correct(self._routed(y_BTD)) + 1.0
        return rates_BTJ

    def read(self, corrected_BTJD: Tensor) -> Tensor:
        """Return the corrected active stream [B, T, D], which the layer's later branches read."""
        active_BTD = self.active(corrected_BTJD)
        return active_BTD * self.out_scale if self.part.out_scale else active_BTD

    def active(self, x_BTJD: Tensor) -> Tensor:
        """Return the stream [B, T, D] that the layer computes."""
        return x_BTJD.select(2, self.part.active)

    def _routed(self, x_BTD: Tensor) -> Tensor:
        """Return a number between −1 and 1 for each stream, [B, T, J]."""
        return torch.tanh(upcast(self.router(self.norm(x_BTD) * x_BTD.shape[-1] ** -1.0))).to(x_BTD.dtype)


def add_to_later(x_BTJD: Tensor, y_BTD: Tensor) -> Tensor:
    """Return the streams [B, T, J, D] with `y_BTD` added to all but the first."""
    return torch.cat((x_BTJD[:, :, :1], x_BTJD[:, :, 1:] + y_BTD.unsqueeze(2)), 2)
