"""Mixtures of each token's input with that of the token before it, which RWKV's parts share.

Axes: B batch, T tokens, D model.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from archcalc.nn.attention_context import AttentionContext
from archcalc.nn.linear import Linear
from archcalc.nn.mixers.context import read_state, without_padding


class ShiftedProjections(nn.Module):
    """Projections of mixtures: each has weights of its own for a token and the one before it."""

    def add_projection(self, name: str, d_model: int, width: int) -> None:
        """Add a projection and the weights of its mixture."""
        self.add_module(name, Linear(d_model, width, bias=False))
        self.register_parameter(f"mix_{name}", nn.Parameter(torch.empty(d_model)))

    def project(self, name: str, x_BTD: Tensor, before_BTD: Tensor) -> Tensor:
        """Return the projection of a mixture."""
        y: Tensor = self.get_submodule(name)(torch.lerp(before_BTD, x_BTD, self.get_parameter(f"mix_{name}")))
        return y

    @staticmethod
    def inputs(x_BTD: Tensor, context: AttentionContext) -> tuple[Tensor, Tensor]:
        """Return the input of each token, and of the token before it: 0 where a text begins."""
        x_BTD, state = without_padding(x_BTD, context), read_state(context)
        last_BD = torch.zeros_like(x_BTD[:, 0]) if state is None else state[0].to(x_BTD.dtype)
        return x_BTD, torch.cat((last_BD.unsqueeze(1), x_BTD[:, :-1]), 1)
