"""A convolution over the tokens around each.

Axes: B batch, T tokens, D model, W width of the convolution.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archcalc.nn.activation import activation
from archcalc.nn.attention_context import AttentionContext
from archcalc.nn.mixers.context import without_padding
from archcalc.nn.taps.points import tap
from archcalc.spec import Spec
from archcalc.spec import mixer as spec


class SpanConv(nn.Module):
    """activation(conv(x)) (DeBERTa-v2's code; He et al. 2020)."""

    def __init__(self, part: spec.SpanConv, model: Spec) -> None:
        super().__init__()
        self.conv = Conv(model.d_model, part.d_conv)
        self.activation = activation(part.activation)

    def forward(self, x_BTD: Tensor, context: AttentionContext) -> Tensor:
        """Map states [B, T, D] to states [B, T, D]."""
        y_BTD: Tensor = self.activation(tap("conv", self.conv(without_padding(x_BTD, context))))
        return y_BTD


class Conv(nn.Module):
    """A convolution of all channels over W tokens, as many before a token as after it: weight [D, D, W], bias [D]."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.padding = width // 2
        self.weight = nn.Parameter(torch.empty(channels, channels, width))
        self.bias = nn.Parameter(torch.empty(channels))

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Map [B, T, D] to [B, T, D]; beside the text are zeros."""
        return F.conv1d(x_BTD.transpose(1, 2), self.weight, self.bias, padding=self.padding).transpose(1, 2)
