"""RWKV's channel mixing: a gated feed-forward that reads the token before too.

Axes: B batch, T tokens, D model, F feed-forward width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from archcalc.nn.activation import activation
from archcalc.nn.arm_cache import CacheConfig, RecurrentState
from archcalc.nn.attention_context import AttentionContext
from archcalc.nn.linear import Linear
from archcalc.nn.mixers.context import write_state
from archcalc.nn.mixers.token_shift import ShiftedProjections
from archcalc.nn.taps.points import tap
from archcalc.spec import Spec
from archcalc.spec import mixer as spec


class ChannelMix(ShiftedProjections):
    """σ(r)·v(relu(k)²) (RWKV-4, Peng et al. 2023, section 3.1)."""

    def __init__(self, part: spec.ChannelMix, model: Spec) -> None:
        super().__init__()
        self.add_projection("k", model.d_model, part.d_ff)
        self.add_projection("r", model.d_model, model.d_model)
        self.activation = activation("relu2")
        self.v = Linear(part.d_ff, model.d_model, bias=False)

    def forward(self, x_BTD: Tensor, context: AttentionContext) -> Tensor:
        """Map states [B, T, D] to states [B, T, D]."""
        x_BTD, before_BTD = self.inputs(x_BTD, context)
        hidden_BTF = tap("hidden", self.activation(self.project("k", x_BTD, before_BTD)))
        r_BTD = tap("r", torch.sigmoid(self.project("r", x_BTD, before_BTD)))
        write_state(context, x_BTD[:, -1])
        out_BTD: Tensor = self.v(hidden_BTF) * r_BTD
        return out_BTD


def state(part: spec.ChannelMix, config: CacheConfig) -> RecurrentState:
    """Return the last input [B, D]."""
    return RecurrentState(config.zero_state(config.d_model))
