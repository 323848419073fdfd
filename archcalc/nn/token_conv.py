"""A causal depthwise convolution to whose weights each token adds numbers of its own (Inkling 2).

Axes: B batch, T tokens, D what the numbers are computed from, C channels, K heads, H width of a head, W width of the
convolution.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from archcalc.nn.linear import Linear


class TokenConv(nn.Module):
    """A convolution of each channel over its last W tokens: kernel [W, C], that of the token itself first.

    A projection gives W more numbers for each head of channels.
    """

    def __init__(self, n_heads: int, channels: int, width: int, d_in: int) -> None:
        super().__init__()
        self.n_heads, self.width = n_heads, width
        self.kernel = nn.Parameter(torch.empty(width, channels))
        self.numbers = Linear(d_in, n_heads * width, bias=False)

    def forward(self, x_BTC: Tensor, past_BCW: Tensor | None, read_BTD: Tensor) -> tuple[Tensor, Tensor]:
        """Map [B, T, C] to [B, T, C]; also return the last W − 1 inputs [B, C, W − 1].

        `past_BCW` are those before the first token; None: zeros. The numbers are computed from `read_BTD`.
        """
        batch, n_past = len(x_BTC), self.width - 1
        past_BWC = x_BTC.new_zeros(batch, n_past, x_BTC.shape[-1]) if past_BCW is None else past_BCW.transpose(1, 2)
        all_BTC = torch.cat((past_BWC.to(x_BTC.dtype), x_BTC), 1)
        windows_BTKHW = torch.unflatten(all_BTC.unfold(1, self.width, 1), 2, (self.n_heads, -1))
        numbers_BTK1W = torch.unflatten(self.numbers(read_BTD), -1, (self.n_heads, 1, self.width))
        weights_KHW = torch.unflatten(self.kernel.T, 0, (self.n_heads, -1))
        # Windows begin with the oldest token.
        y_BTKH = (windows_BTKHW * (weights_KHW + numbers_BTK1W).flip(-1)).sum(-1)
        return y_BTKH.flatten(2), all_BTC.transpose(1, 2)[..., all_BTC.shape[1] - n_past :]
