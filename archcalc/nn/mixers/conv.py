"""A causal depthwise convolution, which mixers share.

Axes: B batch, T tokens, C channels, W width of the convolution.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class CausalConv(nn.Module):
    """A convolution of each channel over its last W tokens: weight [C, 1, W], bias [C]."""

    bias: nn.Parameter | None

    def __init__(self, channels: int, width: int, *, bias: bool) -> None:
        super().__init__()
        self.channels, self.width = channels, width
        self.weight = nn.Parameter(torch.empty(channels, 1, width))
        self.bias = nn.Parameter(torch.empty(channels)) if bias else None

    def forward(self, x_BTC: Tensor, past_BCW: Tensor | None) -> tuple[Tensor, Tensor]:
        """Map [B, T, C] to [B, T, C]; also return the last W − 1 inputs [B, C, W − 1].

        `past_BCW` are those before the first token. None: a text begins, and zeros are added as padding.
        """
        x_BCT = x_BTC.transpose(1, 2)
        n_tokens, n_past = x_BTC.shape[1], self.width - 1
        if past_BCW is None:
            y_BCT = self._convolve(x_BCT, padding=n_past)[..., :n_tokens]
            recent_BCT = F.pad(x_BCT[..., max(0, n_tokens - n_past) :], (max(0, n_past - n_tokens), 0))
        else:
            all_BCT = torch.cat((past_BCW.to(x_BCT.dtype), x_BCT), -1)
            y_BCT, recent_BCT = self._convolve(all_BCT, padding=0), all_BCT
        return y_BCT.transpose(1, 2), recent_BCT[..., recent_BCT.shape[-1] - n_past :]

    def _convolve(self, x_BCT: Tensor, *, padding: int) -> Tensor:
        return F.conv1d(x_BCT, self.weight, self.bias, padding=padding, groups=self.channels)
