"""A Fourier transform over tokens and channels.

Axes: B batch, T and S tokens, D model.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from archcalc.nn.attention_context import AttentionContext
from archcalc.nn.padding import token_positions
from archcalc.spec import Spec
from archcalc.spec import mixer as spec


class Fourier(nn.Module):
    """The real part of a transform over tokens and channels (FNet, Lee-Thorp et al. 2022, eq. 3)."""

    def __init__(self, part: spec.Fourier, model: Spec) -> None:
        super().__init__()

    def forward(self, x_BTD: Tensor, context: AttentionContext) -> Tensor:
        """Map states [B, T, D] to states [B, T, D], of each text by itself, in float32 at least."""
        wide_BTD = x_BTD if x_BTD.dtype == torch.float64 else x_BTD.float()
        padding_BT = context.query_padding
        if padding_BT is None:
            y_BTD: Tensor = torch.fft.fftn(wide_BTD, dim=(1, 2)).real
        else:
            y_BTD = (_matrices(padding_BT, wide_BTD.dtype) @ torch.fft.fft(wide_BTD, dim=2)).real
        # A copy, for a view would keep the imaginary parts in memory.
        return y_BTD.to(x_BTD.dtype, copy=True)


def _matrices(padding_BT: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the matrix [B, T, S] of the transform over the tokens of each text, 0 at padding."""
    positions_BT, lengths_B = token_positions(padding_BT), (~padding_BT).sum(1).clamp(min=1)
    turns_BTS = positions_BT[:, :, None] * positions_BT[:, None] % lengths_B[:, None, None]
    angles_BTS = turns_BTS.to(dtype) / lengths_B[:, None, None] * (-2 * math.pi)
    is_token_BTS = ~padding_BT[:, :, None] & ~padding_BT[:, None]
    return torch.polar(is_token_BTS.to(dtype), angles_BTS)
