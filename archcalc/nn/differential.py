"""Differential attention: pairs of heads that are subtracted.

Axes: B batch, T query tokens, S key tokens, N heads, K kv heads, P pairs of heads, H head width, U value width, V 2·U.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from archcalc.nn.norm import norm
from archcalc.nn.softmax import repeat_kv_heads
from archcalc.nn.upcast import upcast_dtype
from archcalc.spec.attention import Differential


class Differences(nn.Module):
    """a·v − λ·b·v of each pair of heads, normalized (Ye et al. 2024, eq. 1 to 3)."""

    def __init__(self, part: Differential, d_head: int, d_value: int) -> None:
        super().__init__()
        self.offset = part.offset
        self.lambda_q1, self.lambda_k1, self.lambda_q2, self.lambda_k2 = (
            nn.Parameter(torch.empty(d_head)) for _ in range(4)
        )
        self.norm = norm(part.norm, 2 * d_value)

    def attended(self, attend: Callable[..., Tensor], q_BNTH: Tensor, k_BKSH: Tensor, v_BKSU: Tensor) -> Tensor:
        """Return what each head reads of the wide values of its pair, [B, N, T, V]: a kernel for each half."""
        # Contiguous, and repeated once, so that autograd saves them once for both kernels.
        q_BNTH, k_BNSH = q_BNTH.contiguous(), repeat_kv_heads(k_BKSH, q_BNTH.shape[1]).contiguous()
        halves = (repeat_kv_heads(half.repeat(1, 2, 1, 1), q_BNTH.shape[1]) for half in v_BKSU.chunk(2, 1))
        return torch.cat([attend(q_BNTH, k_BNSH, v_BNSU) for v_BNSU in halves], -1)

    def forward(self, y_BNTV: Tensor) -> Tensor:
        """Return the normalized difference of each pair, [B, P, T, V]."""
        first_BPTV, second_BPTV = y_BNTV.chunk(2, 1)
        y_BPTV: Tensor = self.norm(first_BPTV - self._lambda() * second_BPTV)
        return y_BPTV * (1 - self.offset)

    def _lambda(self) -> Tensor:
        first, second = (
            (q_H * k_H).sum(dtype=upcast_dtype(q_H.dtype)).exp().to(q_H.dtype)
            for q_H, k_H in ((self.lambda_q1, self.lambda_k1), (self.lambda_q2, self.lambda_k2))
        )
        return first - second + self.offset
