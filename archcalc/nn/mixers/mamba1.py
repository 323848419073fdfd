"""Mamba: a selective state space, as a scan of one token after another.

Axes: B batch, T tokens, D model, I inner width, N numbers of a channel's state, G heads of channels (1 without).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archcalc.nn.arm_cache import CacheConfig, RecurrentState
from archcalc.nn.attention_context import AttentionContext
from archcalc.nn.linear import Linear, linear
from archcalc.nn.mixers.context import read_state, without_padding, write_state
from archcalc.nn.mixers.conv import CausalConv
from archcalc.nn.norm import norm
from archcalc.nn.taps.points import tap
from archcalc.nn.upcast import upcast
from archcalc.spec import Spec
from archcalc.spec import mixer as spec


class Mamba1(nn.Module):
    """A selective state space (Mamba, Gu & Dao 2023, algorithm 2)."""

    def __init__(self, part: spec.Mamba1, model: Spec) -> None:
        super().__init__()
        d_inner, dt_rank = _sizes(part)
        self.selected_widths, self.has_heads = [dt_rank, part.d_state, part.d_state], part.n_heads is not None
        self.n_heads = part.n_heads or 1
        self.add_module("in", Linear(model.d_model, 2 * d_inner, bias=part.bias))
        self.conv = CausalConv(d_inner, part.d_conv, bias=part.conv_bias)
        block = part.d_head if self.has_heads else None
        self.x = linear(d_inner, self.n_heads * (dt_rank + 2 * part.d_state), bias=False, block=block)
        self.dt = linear(self.n_heads * dt_rank, d_inner, bias=True, block=dt_rank if self.has_heads else None)
        self.A_log = nn.Parameter(torch.empty(d_inner, part.d_state))
        self.D = nn.Parameter(torch.empty(d_inner))
        widths = zip(("dt", "b", "c"), self.selected_widths, strict=True)
        self.norms = {name: norm(part.norm, width) for name, width in widths} if part.norm else {}
        for name, module in self.norms.items():
            self.add_module(f"{name}_norm", module)
        self.out = Linear(d_inner, model.d_model, bias=part.bias)

    def forward(self, x_BTD: Tensor, context: AttentionContext) -> Tensor:
        """Map states [B, T, D] to states [B, T, D]."""
        conv_state, state_BIN = read_state(context) or (None, None)
        u_BTI, z_BTI = tap("projected", self.get_submodule("in")(x_BTD)).chunk(2, -1)
        u_BTI, recent_BIW = self.conv(without_padding(u_BTI, context), conv_state)
        u_BTI = tap("conv", without_padding(F.silu(u_BTI).contiguous(), context))
        delta_BTI, b_BTGN, c_TBGN = self._select(u_BTI)
        y_BTI, state_BIN = self._scan(u_BTI, delta_BTI, b_BTGN, c_TBGN, state_BIN)
        write_state(context, recent_BIW, state_BIN)
        out_BTD: Tensor = self.out(tap("scan", y_BTI.to(u_BTI.dtype)) * F.silu(z_BTI))
        return out_BTD

    def _select(self, u_BTI: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return steps Δ [B, T, I], and b [B, T, G, N] and c [T, B, G, N], which the token selects."""
        selected_BTGZ = torch.unflatten(tap("selection", self.x(u_BTI)), -1, (self.n_heads, -1))
        low_BTGR, b_BTGN, c_BTGN = (
            self.get_submodule(f"{name}_norm")(x) if self.norms else x
            for name, x in zip(("dt", "b", "c"), torch.split(selected_BTGZ, self.selected_widths, -1), strict=True)
        )
        c_TBGN = upcast(c_BTGN).transpose(0, 1)
        if self.has_heads:  # one after another in memory, whatever their number
            low_BTGR, c_TBGN = (x.clone(memory_format=torch.contiguous_format) for x in (low_BTGR, c_TBGN))
        return tap("delta", F.softplus(upcast(self.dt(low_BTGR.flatten(2))))), upcast(b_BTGN), c_TBGN

    def _scan(
        self, u_BTI: Tensor, delta_BTI: Tensor, b_BTGN: Tensor, c_TBGN: Tensor, state_BIN: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return what each token reads off the states [B, T, I], and the last state [B, I, N]; in float32 at least."""
        u_BTI, heads = upcast(u_BTI), (self.n_heads, -1)
        decay_BTIN = torch.exp(-(delta_BTI.unsqueeze(-1) * torch.exp(upcast(self.A_log))))
        driven_BTGi = torch.unflatten(delta_BTI * u_BTI, -1, heads)
        drive_BTIN = (driven_BTGi.unsqueeze(-1) * b_BTGN.unsqueeze(-2)).flatten(2, 3)
        last_BIN = torch.zeros_like(drive_BTIN[:, 0]) if state_BIN is None else state_BIN.to(drive_BTIN.dtype)
        outputs = []
        for t in range(u_BTI.shape[1]):
            last_BIN = decay_BTIN[:, t] * last_BIN + drive_BTIN[:, t]
            read_BGi1 = torch.matmul(torch.unflatten(last_BIN, 1, heads), c_TBGN[t].unsqueeze(-1))
            outputs.append(read_BGi1.flatten(1))
        return torch.stack(outputs, 1) + upcast(self.D) * u_BTI, last_BIN


def state(part: spec.Mamba1, config: CacheConfig) -> RecurrentState:
    """Return a state: inputs of the convolution [B, I, d_conv − 1], and the scan's state [B, I, N]."""
    d_inner, _ = _sizes(part)
    return RecurrentState(config.zero_state(d_inner, part.d_conv - 1), config.zero_state(d_inner, part.d_state))


def _sizes(part: spec.Mamba1) -> tuple[int, int]:
    """Return d_inner and dt_rank of a resolved part."""
    assert part.d_inner is not None and part.dt_rank is not None, "the spec is resolved"  # noqa: PT018
    return part.d_inner, part.dt_rank
