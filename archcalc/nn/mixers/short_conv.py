"""A gated short convolution.

Axes: B batch, T tokens, D model, Z = 3·D.
"""

from __future__ import annotations

from torch import Tensor, nn

from archcalc.nn.arm_cache import CacheConfig, RecurrentState
from archcalc.nn.attention_context import AttentionContext
from archcalc.nn.linear import Linear
from archcalc.nn.mixers.context import read_state, without_padding, write_state
from archcalc.nn.mixers.conv import CausalConv
from archcalc.nn.taps.points import tap
from archcalc.spec import Spec
from archcalc.spec import mixer as spec


class ShortConv(nn.Module):
    """out(c · conv(b · x)) of three projections of the input (LFM2, Liquid AI 2025)."""

    def __init__(self, part: spec.ShortConv, model: Spec) -> None:
        super().__init__()
        self.add_module("in", Linear(model.d_model, 3 * model.d_model, bias=part.bias))
        self.conv = CausalConv(model.d_model, part.d_conv, bias=part.bias)
        self.out = Linear(model.d_model, model.d_model, bias=part.bias)

    def forward(self, x_BTD: Tensor, context: AttentionContext) -> Tensor:
        """Map states [B, T, D] to states [B, T, D]."""
        state = read_state(context)
        b_BTD, c_BTD, x_BTD = tap("projected", self.get_submodule("in")(x_BTD)).chunk(3, -1)
        x_BTD = without_padding(b_BTD * x_BTD, context)
        y_BTD, recent_BDW = self.conv(x_BTD, None if state is None else state[0])
        write_state(context, recent_BDW)
        out_BTD: Tensor = self.out(c_BTD * tap("conv", y_BTD))
        return out_BTD


def state(part: spec.ShortConv, config: CacheConfig) -> RecurrentState:
    """Return a state of the last d_conv − 1 inputs of the convolution [B, D, d_conv − 1]."""
    return RecurrentState(config.zero_state(config.d_model, part.d_conv - 1))
