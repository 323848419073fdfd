"""Mamba: a selective state space, as a scan of one token after another.

Axes: B batch, T tokens, D model, I inner width, N numbers of a channel's state.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archcalc.nn.arm_cache import CacheConfig, RecurrentState
from archcalc.nn.attention_context import AttentionContext
from archcalc.nn.linear import Linear
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
        self.selected_widths = [dt_rank, part.d_state, part.d_state]
        self.add_module("in", Linear(model.d_model, 2 * d_inner, bias=part.bias))
        self.conv = CausalConv(d_inner, part.d_conv, bias=part.conv_bias)
        self.x = Linear(d_inner, dt_rank + 2 * part.d_state, bias=False)
        self.dt = Linear(dt_rank, d_inner, bias=True)
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
        delta_BTI, b_BTN, c_BTN = self._select(u_BTI)
        y_BTI, state_BIN = self._scan(u_BTI, delta_BTI, b_BTN, c_BTN, state_BIN)
        write_state(context, recent_BIW, state_BIN)
        out_BTD: Tensor = self.out(tap("scan", y_BTI.to(u_BTI.dtype)) * F.silu(z_BTI))
        return out_BTD

    def _select(self, u_BTI: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return steps Δ [B, T, I], and b and c [B, T, N], which the token selects."""
        selected = torch.split(tap("selection", self.x(u_BTI)), self.selected_widths, -1)
        low, b_BTN, c_BTN = (
            self.get_submodule(f"{name}_norm")(x) if self.norms else x
            for name, x in zip(("dt", "b", "c"), selected, strict=True)
        )
        return tap("delta", F.softplus(upcast(self.dt(low)))), upcast(b_BTN), upcast(c_BTN)

    def _scan(
        self, u_BTI: Tensor, delta_BTI: Tensor, b_BTN: Tensor, c_BTN: Tensor, state_BIN: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return what each token reads off the states [B, T, I], and the last state [B, I, N]; in float32 at least."""
        u_BTI = upcast(u_BTI)
        decay_BTIN = torch.exp(-(delta_BTI.unsqueeze(-1) * torch.exp(upcast(self.A_log))))
        drive_BTIN = (delta_BTI * u_BTI).unsqueeze(-1) * b_BTN.unsqueeze(-2)
        last_BIN = torch.zeros_like(drive_BTIN[:, 0]) if state_BIN is None else state_BIN.to(drive_BTIN.dtype)
        outputs = []
        for t in range(u_BTI.shape[1]):
            last_BIN = decay_BTIN[:, t] * last_BIN + drive_BTIN[:, t]
            outputs.append(torch.matmul(last_BIN, c_BTN[:, t].unsqueeze(-1)).squeeze(-1))
        return torch.stack(outputs, 1) + upcast(self.D) * u_BTI, last_BIN


def state(part: spec.Mamba1, config: CacheConfig) -> RecurrentState:
    """Return a state: inputs of the convolution [B, I, d_conv − 1], and the scan's state [B, I, N]."""
    d_inner, _ = _sizes(part)
    return RecurrentState(config.zero_state(d_inner, part.d_conv - 1), config.zero_state(d_inner, part.d_state))


def _sizes(part: spec.Mamba1) -> tuple[int, int]:
    """Return d_inner and dt_rank of a resolved part."""
    assert part.d_inner is not None and part.dt_rank is not None, "the spec is resolved"  # noqa: PT018
    return part.d_inner, part.dt_rank
