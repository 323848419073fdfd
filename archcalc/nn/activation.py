"""Activations, alone and as the gate of a gated feed-forward."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from archcalc.spec.base import Activation

SHARPNESS = 1.702  # the sigmoid that comes nearest to gelu (Hendrycks & Gimpel 2016, section 2)
CLAMP = 7.0  # gpt-oss' `swiglu_limit`


def relu2(x: Tensor) -> Tensor:
    """relu(x)² (So et al. 2021, section 3)."""
    return F.relu(x).square()


def gelu_tanh(x: Tensor) -> Tensor:
    """The tanh approximation of gelu (Hendrycks & Gimpel 2016, section 2)."""
    return F.gelu(x, approximate="tanh")


def quick_gelu(x: Tensor) -> Tensor:
    """x · σ(1.702 x): the sigmoid approximation of gelu (ibid.)."""
    return x * torch.sigmoid(SHARPNESS * x)


def clamped_swish(x: Tensor) -> Tensor:
    """quick_gelu of x, held to 7 at most (gpt-oss, OpenAI 2025, its reference code)."""
    return quick_gelu(x.clamp(max=CLAMP))


def clamped_gate(gate: Tensor, up: Tensor) -> Tensor:
    """clamped_swish(gate) · (up held to ±7, plus 1) (gpt-oss, OpenAI 2025, its reference code)."""
    return clamped_swish(gate) * (up.clamp(-CLAMP, CLAMP) + 1)


ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "relu2": relu2,
    "gelu": F.gelu,
    "gelu_tanh": gelu_tanh,
    "quick_gelu": quick_gelu,
    "silu": F.silu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "clamped_swish": clamped_swish,
}

# How a gate meets what it gates, where that is more than a product.
_GATES: dict[Activation, Callable[[Tensor, Tensor], Tensor]] = {"clamped_swish": clamped_gate}


def gating(activation: Activation) -> Callable[[Tensor, Tensor], Tensor]:
    """The function of (gate, up) that a gated feed-forward of this activation takes (Shazeer 2020, eq. 6)."""
    act = ACTIVATIONS[activation]
    return _GATES.get(activation, lambda gate, up: act(gate) * up)
