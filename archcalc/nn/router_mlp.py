"""What the router of a mixture of experts reads, if that is a state of its own, mixed with that of the layer before.

Axes: Q all tokens, D model, R width of the state.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from archcalc.nn.activation import activation
from archcalc.nn.linear import Linear
from archcalc.nn.norm import norm
from archcalc.nn.router_states import RouterStates
from archcalc.nn.taps.points import tap
from archcalc.nn.upcast import upcast
from archcalc.spec import ffn as spec


class RouterMlp(nn.Module):
    """A norm and two dense layers on a projection of the states (transformers' Zaya)."""

    state_scale: nn.Parameter | None

    def __init__(self, part: spec.RouterMlp, d_model: int) -> None:
        super().__init__()
        self.down = Linear(d_model, part.d_router, bias=True)
        self.state_scale = nn.Parameter(torch.empty(part.d_router)) if part.adds_previous else None
        self.norm = norm(part.norm, part.d_router)
        self.first, self.second = (Linear(part.d_router, part.d_router, bias=True) for _ in range(2))
        self.activation = activation(part.activation)

    def forward(self, x_QD: Tensor, states: RouterStates) -> Tensor:
        """Return what the router's matrix reads [Q, R] of states [Q, D]."""
        state_QR = upcast(self.down(x_QD))
        if self.state_scale is not None:
            assert states.previous is not None, "a router that adds a state is given one"
            state_QR = state_QR + states.previous * self.state_scale
        state_QR = tap("router_state", state_QR)
        if states.lend is not None:
            states.lend((state_QR,))
        y_QR: Tensor = self.norm(state_QR).to(x_QD.dtype)
        for dense in (self.first, self.second):
            y_QR = self.activation(dense(y_QR))
        return y_QR
