"""Multi-token prediction.

Axes: B batch, T tokens, D model.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from archcalc.nn.attention_context import LayerContext
from archcalc.nn.block import Block
from archcalc.nn.linear import Linear
from archcalc.nn.norm import norm
from archcalc.spec import Spec
from archcalc.spec.groups import layers_of
from archcalc.spec.layer import Stack


class Mtp(nn.Module):
    """A module that predicts one token further (DeepSeek-V3, Liu et al. 2024, section 2.2, eq. 21–23)."""

    def __init__(self, stack: Stack, model: Spec) -> None:
        super().__init__()
        norm_part = stack.final_norm
        self.hidden_norm = norm(norm_part, model.d_model) if norm_part else None
        self.token_norm = norm(norm_part, model.d_model) if norm_part else None
        self.project = Linear(2 * model.d_model, model.d_model, bias=False)
        self.layer = Block(layers_of(stack)[-1], model)
        self.final_norm = norm(norm_part, model.d_model) if norm_part else None

    def forward(self, x_BTD: Tensor, tokens_BTD: Tensor, context: LayerContext) -> tuple[Tensor, Tensor]:
        """Return this module's states and those that the head reads, from earlier states and tokens; all [B, T, D]."""
        joined_BTZ = torch.cat((_apply(self.hidden_norm, x_BTD), _apply(self.token_norm, tokens_BTD)), -1)
        y_BTD: Tensor = self.layer(self.project(joined_BTZ), context)
        return y_BTD, _apply(self.final_norm, y_BTD)


def _apply(module: nn.Module | None, x: Tensor) -> Tensor:
    y: Tensor = x if module is None else module(x)
    return y
