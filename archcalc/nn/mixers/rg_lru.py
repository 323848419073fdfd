"""A real-gated linear recurrent unit (Griffin), as a scan of one token after another.

Axes: B batch, T tokens, D model, I inner width, N blocks, K width of a block, M = B·T.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archcalc.nn.activation import activation
from archcalc.nn.arm_cache import CacheConfig, RecurrentState
from archcalc.nn.attention_context import AttentionContext
from archcalc.nn.linear import Linear
from archcalc.nn.mixers.context import read_state, without_padding, write_state
from archcalc.nn.mixers.conv import CausalConv
from archcalc.nn.taps.points import tap
from archcalc.nn.upcast import upcast, upcast_dtype
from archcalc.spec import Spec
from archcalc.spec import mixer as spec

STRENGTH = 8.0  # De et al. 2024, eq. 4: c


class RgLru(nn.Module):
    """A gated linear recurrence of the channels of a convolution (De et al. 2024, section 2.4)."""

    def __init__(self, part: spec.RgLru, model: Spec) -> None:
        super().__init__()
        assert part.d_block is not None, "the spec is resolved"
        d_inner, blocks = part.n_blocks * part.d_block, (part.n_blocks, part.d_block)
        self.gate = Linear(model.d_model, d_inner, bias=True)
        self.activation = activation(part.activation)
        self.add_module("in", Linear(model.d_model, d_inner, bias=True))
        self.conv = CausalConv(d_inner, part.d_conv, bias=True)
        self.input_gate = nn.Parameter(torch.empty(*blocks, part.d_block))
        self.input_gate_bias = nn.Parameter(torch.empty(blocks))
        self.decay_gate = nn.Parameter(torch.empty(*blocks, part.d_block))
        self.decay_gate_bias = nn.Parameter(torch.empty(blocks))
        self.decay_rate = nn.Parameter(torch.empty(d_inner))
        self.out = Linear(d_inner, model.d_model, bias=True)

    def forward(self, x_BTD: Tensor, context: AttentionContext) -> Tensor:
        """Map states [B, T, D] to states [B, T, D]."""
        conv_state, state_BI = read_state(context) or (None, None)
        gate_BTI = self.activation(self.gate(x_BTD))
        u_BTI, recent_BIW = self.conv(without_padding(self.get_submodule("in")(x_BTD), context), conv_state)
        u_BTI = tap("conv", u_BTI.clone(memory_format=torch.contiguous_format))
        input_gate_BTI = tap("input_gate", _block_sigmoid(u_BTI, self.input_gate, self.input_gate_bias))
        decay_gate_BTI = tap("decay_gate", _block_sigmoid(u_BTI, self.decay_gate, self.decay_gate_bias))
        y_BTI, state_BI = self._scan(u_BTI * input_gate_BTI, decay_gate_BTI, state_BI, context)
        write_state(context, recent_BIW, state_BI)
        out_BTD: Tensor = self.out(tap("scan", y_BTI.to(x_BTD.dtype)) * gate_BTI)
        return out_BTD

    def _scan(
        self, drive_BTI: Tensor, gate_BTI: Tensor, state_BI: Tensor | None, context: AttentionContext
    ) -> tuple[Tensor, Tensor]:
        """Return the state after each token [B, T, I], and the last state [B, I]; in float32 at least."""
        log_decay_BTI = -STRENGTH * F.softplus(upcast(self.decay_rate)) * upcast(gate_BTI)
        is_first = context.token_positions.view(-1, drive_BTI.shape[1]) == 0
        factor_BTI = torch.sqrt(-torch.expm1(2.0 * log_decay_BTI)).masked_fill(is_first.unsqueeze(-1), 1.0)
        drive_BTI = without_padding(upcast(drive_BTI) * factor_BTI, context)
        decay_BTI = without_padding(log_decay_BTI, context).exp()
        last_BI = torch.zeros_like(drive_BTI[:, 0]) if state_BI is None else state_BI.to(drive_BTI.dtype)
        states = []
        for t in range(drive_BTI.shape[1]):
            last_BI = decay_BTI[:, t] * last_BI + drive_BTI[:, t]
            states.append(last_BI)
        return torch.stack(states, 1), last_BI


def _block_sigmoid(x_BTI: Tensor, weight_NKK: Tensor, bias_NK: Tensor) -> Tensor:
    """Return the sigmoid of each block of channels times its own matrix, plus its bias: [B, T, I]."""
    x_NMK = torch.unflatten(x_BTI, -1, bias_NK.shape).flatten(0, 1).transpose(0, 1)
    y_NMK = torch.baddbmm(bias_NK.unsqueeze(1), x_NMK, weight_NKK)
    return torch.sigmoid(y_NMK.transpose(0, 1).reshape(x_BTI.shape))


def state(part: spec.RgLru, config: CacheConfig) -> RecurrentState:
    """Return a state: inputs of the convolution [B, I, d_conv − 1], and the scan's state [B, I] in float32."""
    assert part.d_block is not None, "the spec is resolved"
    d_inner = part.n_blocks * part.d_block
    return RecurrentState(
        config.zero_state(d_inner, part.d_conv - 1),
        torch.zeros(config.batch, d_inner, dtype=upcast_dtype(config.dtype), device=config.device),
    )
