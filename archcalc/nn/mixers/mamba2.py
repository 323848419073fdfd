"""Mamba-2: a selective state space with one decay for each head, in chunks (Dao & Gu 2024, listing 1).

Axes: B batch, T tokens, D model, I inner width, G groups, N heads, V width of a head, K numbers of a state for each of
these, W width of the convolution less one; M chunks, C and c tokens of a chunk; X states: one before each chunk, and
the last.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archcalc.nn.arm_cache import CacheConfig, RecurrentState
from archcalc.nn.attention_context import AttentionContext
from archcalc.nn.linear import Linear
from archcalc.nn.mixers.chunks import in_chunks, segment_sums
from archcalc.nn.mixers.context import read_state, without_padding, write_state
from archcalc.nn.mixers.conv import CausalConv
from archcalc.nn.norm import GroupNorm
from archcalc.nn.taps.points import tap
from archcalc.nn.upcast import upcast, upcast_dtype
from archcalc.spec import Spec
from archcalc.spec import mixer as spec


class Mamba2(nn.Module):
    """A convolution of values, b and c, their states, and a gated norm between two projections."""

    def __init__(self, part: spec.Mamba2, model: Spec) -> None:
        super().__init__()
        self.n_heads, self.n_groups, self.chunk = part.n_heads, part.n_state_groups, part.chunk
        own = part.multipliers
        self.multipliers = None if own is None else (own.z, own.v, own.b, own.c, own.delta)
        self.limits, self.norm_when = (part.step_min, part.step_max), part.norm_when
        d_inner, d_selected = part.n_heads * part.d_head, part.n_state_groups * part.d_state
        d_conv = d_inner + 2 * d_selected
        self.projected_widths, self.conv_widths = [d_inner, d_conv, part.n_heads], [d_inner, d_selected, d_selected]
        self.add_module("in", Linear(model.d_model, sum(self.projected_widths), bias=part.bias))
        self.conv = CausalConv(d_conv, part.d_conv, bias=part.conv_bias)
        self.dt_bias = nn.Parameter(torch.empty(part.n_heads))
        self.A_log = nn.Parameter(torch.empty(part.n_heads))
        self.D = nn.Parameter(torch.empty(part.n_heads))
        self.norm = GroupNorm(part.norm, part.n_state_groups, d_inner) if part.norm else None
        self.out = Linear(d_inner, model.d_model, bias=bool(part.out_bias))

    def forward(self, x_BTD: Tensor, context: AttentionContext) -> Tensor:
        """Map states [B, T, D] to states [B, T, D]."""
        past_BIW, state_BNVK = read_state(context) or (None, None)
        projected = tap("projected", self._project(x_BTD))
        z_BTI, u_BTI, delta_BTN = torch.split(projected, self.projected_widths, -1)
        u_BTI, recent_BIW = self.conv(without_padding(u_BTI, context), past_BIW)
        u_BTI = tap("conv", without_padding(F.silu(u_BTI).contiguous(), context))
        v_BTNV, b_BTNK, c_BTNK = self._by_head(u_BTI)
        delta_BTN = self._steps(delta_BTN)
        decay_BTN = -(delta_BTN * upcast(self.A_log).exp())
        drive_BTNV = v_BTNV * delta_BTN.unsqueeze(-1)
        if x_BTD.shape[1] == 1 and state_BNVK is not None:
            y_BTNV, state_BNVK = step(drive_BTNV, b_BTNK, c_BTNK, decay_BTN, upcast(state_BNVK))
        else:
            y_BTNV, state_BNVK = chunked(drive_BTNV, b_BTNK, c_BTNK, decay_BTN, state_BNVK, self.chunk)
        write_state(context, recent_BIW, state_BNVK)
        y_BTI = tap("scan", (y_BTNV + upcast(self.D).unsqueeze(-1) * v_BTNV).flatten(-2))
        out_BTD: Tensor = self.out(self._gated(y_BTI, F.silu(upcast(z_BTI))).to(x_BTD.dtype))
        return out_BTD

    def _project(self, x_BTD: Tensor) -> Tensor:
        """Return the projection, its slices multiplied."""
        projected: Tensor = self.get_submodule("in")(x_BTD)
        if self.multipliers is None:
            return projected
        widths = [self.projected_widths[0], *self.conv_widths, self.projected_widths[2]]
        pairs = zip(self.multipliers, widths, strict=True)
        return projected * torch.cat([projected.new_full((width,), factor) for factor, width in pairs])

    def _by_head(self, u_BTI: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return each head's values [B, T, N, V], and the b and c [B, T, N, K] of its group, in float32 at least."""
        v_BTI, *selected = torch.split(u_BTI, self.conv_widths, -1)
        v_BTI = upcast(tap("v", v_BTI))
        by_group = (torch.unflatten(upcast(x), -1, (self.n_groups, -1)) for x in selected)
        b_BTNK, c_BTNK = (x.repeat_interleave(self.n_heads // self.n_groups, 2) for x in by_group)
        return torch.unflatten(v_BTI, -1, (self.n_heads, -1)), b_BTNK, c_BTNK

    def _steps(self, delta_BTN: Tensor) -> Tensor:
        """Return the step of each head, within its limits."""
        delta_BTN = F.softplus(upcast(delta_BTN) + self.dt_bias)
        has_limits = any(limit is not None for limit in self.limits)
        return tap("delta", delta_BTN.clamp(*self.limits) if has_limits else delta_BTN)

    def _gated(self, y_BTI: Tensor, gate_BTI: Tensor) -> Tensor:
        if self.norm is None:
            return y_BTI * gate_BTI
        normed: Tensor = self.norm(y_BTI) * gate_BTI if self.norm_when == "before" else self.norm(y_BTI * gate_BTI)
        return normed


def step(
    drive_BTNV: Tensor, b_BTNK: Tensor, c_BTNK: Tensor, decay_BTN: Tensor, state_BNVK: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the output [B, 1, N, V] of one token, and the state after it."""
    decayed_BNVK = state_BNVK * decay_BTN[:, 0, :, None, None].exp()
    state_BNVK = decayed_BNVK + drive_BTNV[:, 0].unsqueeze(-1) * b_BTNK[:, 0].unsqueeze(-2)
    return (state_BNVK @ c_BTNK[:, 0].unsqueeze(-1)).squeeze(-1).unsqueeze(1), state_BNVK


def chunked(
    drive_BTNV: Tensor, b_BTNK: Tensor, c_BTNK: Tensor, decay_BTN: Tensor, state_BNVK: Tensor | None, chunk: int
) -> tuple[Tensor, Tensor]:
    """Return the outputs [B, T, N, V], and the state after the last token.

    Tokens of a chunk are mixed as by attention with decaying scores. The states that the chunks write are then summed,
    each decayed by the chunks after it. The last chunk is padded with tokens that change no state.
    """
    n_tokens = drive_BTNV.shape[1]
    v, b, c = (in_chunks(x.transpose(1, 2), chunk) for x in (drive_BTNV, b_BTNK, c_BTNK))
    decay_BNMC = in_chunks(decay_BTN.transpose(1, 2).unsqueeze(-1), chunk).squeeze(-1)
    sum_BNMC1 = decay_BNMC.cumsum(-1).unsqueeze(-1)
    scores_BNMCc = (c @ b.transpose(-1, -2)) * segment_sums(decay_BNMC).exp()
    rest_BNMC1 = (sum_BNMC1[..., -1:, :] - sum_BNMC1).exp()
    written_BNMVK = v.transpose(-1, -2) @ (b * rest_BNMC1)
    first_BN1VK = torch.zeros_like(written_BNMVK[:, :, :1]) if state_BNVK is None else state_BNVK.unsqueeze(2)
    states_BNXVK = torch.cat((first_BN1VK.to(written_BNMVK.dtype), written_BNMVK), 2)
    passed_BNXX = segment_sums(F.pad(sum_BNMC1[..., -1, 0], (1, 0))).exp()
    states_BNXVK = torch.unflatten(passed_BNXX @ states_BNXVK.flatten(-2), -1, states_BNXVK.shape[-2:])
    before_BNMVK = states_BNXVK[:, :, :-1].clone()
    y = (c * sum_BNMC1.exp()) @ before_BNMVK.transpose(-1, -2) + scores_BNMCc @ v
    return y.flatten(2, 3)[:, :, :n_tokens].transpose(1, 2), states_BNXVK[:, :, -1]


def state(part: spec.Mamba2, config: CacheConfig) -> RecurrentState:
    """Return the last d_conv − 1 inputs of the convolution, and the state of each head in float32."""
    d_conv = part.n_heads * part.d_head + 2 * part.n_state_groups * part.d_state
    shape = (config.batch, part.n_heads, part.d_head, part.d_state)
    states = torch.zeros(shape, dtype=upcast_dtype(config.dtype), device=config.device)
    return RecurrentState(config.zero_state(d_conv, part.d_conv - 1), states)
