"""RWKV's time mixing: means of earlier values with decaying weights, as a scan of one token after another.

Axes: B batch, T tokens, D model, I inner width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from archcalc.nn.arm_cache import CacheConfig, RecurrentState
from archcalc.nn.attention_context import AttentionContext
from archcalc.nn.linear import Linear
from archcalc.nn.mixers.context import read_state, without_padding, write_state
from archcalc.nn.mixers.token_shift import ShiftedProjections
from archcalc.nn.taps.points import tap
from archcalc.nn.upcast import upcast, upcast_dtype
from archcalc.spec import Spec
from archcalc.spec import mixer as spec

LEAST = -1e38  # the exponent of a weight of 0
Sums = tuple[Tensor, Tensor, Tensor]


class TimeMix(ShiftedProjections):
    """Weighted means of each channel's values, gated (RWKV-4, Peng et al. 2023, section 3.1)."""

    def __init__(self, part: spec.TimeMix, model: Spec) -> None:
        super().__init__()
        assert part.d_inner is not None, "the spec is resolved"
        for name in ("k", "v", "r"):
            self.add_projection(name, model.d_model, part.d_inner)
        self.decay = nn.Parameter(torch.empty(part.d_inner))
        self.bonus = nn.Parameter(torch.empty(part.d_inner))
        self.out = Linear(part.d_inner, model.d_model, bias=False)

    def forward(self, x_BTD: Tensor, context: AttentionContext) -> Tensor:
        """Map states [B, T, D] to states [B, T, D]."""
        x_BTD, before_BTD = self.inputs(x_BTD, context)
        k_BTI, v_BTI = (tap(name, self.project(name, x_BTD, before_BTD)) for name in ("k", "v"))
        r_BTI = tap("r", torch.sigmoid(self.project("r", x_BTD, before_BTD)))
        state = read_state(context)
        sums = None if state is None else (state[1], state[2], state[3])
        y_BTI, sums = self._scan(upcast(k_BTI), upcast(v_BTI), sums, context)
        write_state(context, x_BTD[:, -1], *sums)
        out_BTD: Tensor = self.out(tap("scan", y_BTI.to(x_BTD.dtype)) * r_BTI)
        return out_BTD

    def _scan(self, k_BTI: Tensor, v_BTI: Tensor, sums: Sums | None, context: AttentionContext) -> tuple[Tensor, Sums]:
        """Return the weighted means [B, T, I], and both sums after the last token with their maximum [B, I]."""
        decay_I, bonus_I = -upcast(self.decay).exp(), upcast(self.bonus)
        if context.query_padding is not None:
            k_BTI = k_BTI.masked_fill(context.query_padding.unsqueeze(-1), LEAST)
        num_BI, den_BI, max_BI = sums or _no_sums(k_BTI[:, 0])
        with torch.no_grad():
            before_BTI, after_BTI, own_BTI = _maxima(k_BTI, decay_I, bonus_I, max_BI)
        decays_BTI = torch.exp(before_BTI + decay_I - after_BTI)
        weights_BTI = without_padding(torch.exp(k_BTI - after_BTI), context)
        weighted_BTI = weights_BTI * v_BTI
        nums, dens = [], []
        for t in range(k_BTI.shape[1]):
            nums.append(num_BI)
            dens.append(den_BI)
            num_BI = decays_BTI[:, t] * num_BI + weighted_BTI[:, t]
            den_BI = decays_BTI[:, t] * den_BI + weights_BTI[:, t]
        old_BTI, new_BTI = torch.exp(before_BTI - own_BTI), torch.exp(k_BTI + bonus_I - own_BTI)
        num_BTI = old_BTI * torch.stack(nums, 1) + new_BTI * v_BTI
        den_BTI = old_BTI * torch.stack(dens, 1) + new_BTI
        return num_BTI / den_BTI, (num_BI, den_BI, after_BTI[:, -1])


def _no_sums(like_BI: Tensor) -> Sums:
    """Return the sums before the first token; of one token too, autograd then saves what it saves of several."""
    return like_BI * 0.0, like_BI * 0.0, torch.full_like(like_BI, LEAST)


def _maxima(k_BTI: Tensor, decay_I: Tensor, bonus_I: Tensor, max_BI: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the largest exponents before each token, after it, and with its bonus: [B, T, I] each."""
    before = [max_BI]
    for t in range(k_BTI.shape[1]):
        before.append(torch.maximum(before[-1] + decay_I, k_BTI[:, t]))
    before_BTI = torch.stack(before[:-1], 1)
    return before_BTI, torch.stack(before[1:], 1), torch.maximum(before_BTI, k_BTI + bonus_I)


def state(part: spec.TimeMix, config: CacheConfig) -> RecurrentState:
    """Return the last input [B, D]; a numerator, a denominator and a maximum for each channel [B, I] in float32."""
    assert part.d_inner is not None, "the spec is resolved"
    shape, dtype = (config.batch, part.d_inner), upcast_dtype(config.dtype)
    sums = (torch.zeros(shape, dtype=dtype, device=config.device) for _ in range(3))
    return RecurrentState(config.zero_state(config.d_model), *sums)
