"""Activations, alone and as the gate of a gated feed-forward."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archcalc.spec import activation as spec
from archcalc.spec.base import Activation

LAPLACE_MEAN, LAPLACE_DEVIATION = 0.707107, 0.282095  # √(1/2) and √(1/(4π)), as in the reference code
SHARPNESS = 1.702  # of the sigmoid nearest to gelu (Hendrycks & Gimpel 2016, section 2)

Function = Callable[[Tensor], Tensor]


def relu2(x: Tensor) -> Tensor:
    """Return relu(x)² (So et al. 2021, section 3)."""
    return F.relu(x).square()


def gelu_tanh(x: Tensor) -> Tensor:
    """Return the tanh approximation of gelu (Hendrycks & Gimpel 2016, section 2)."""
    return F.gelu(x, approximate="tanh")


def gelu_10(x: Tensor) -> Tensor:
    """Return gelu clamped to ±10 (Wu et al. 2020)."""
    return F.gelu(x).clamp(-10.0, 10.0)


def quick_gelu(x: Tensor) -> Tensor:
    """Return x · σ(1.702 x), the sigmoid approximation of gelu (Hendrycks & Gimpel 2016, section 2)."""
    return x * torch.sigmoid(SHARPNESS * x)


def laplace(x: Tensor) -> Tensor:
    """Return a normal distribution function, near relu² in the middle (Ma et al. 2022, eq. 16)."""
    return 0.5 * (1.0 + torch.erf((x - LAPLACE_MEAN) / (LAPLACE_DEVIATION * math.sqrt(2.0))))


def sqrt_softplus(x: Tensor) -> Tensor:
    """Return √(ln(1 + eˣ)) (DeepSeek-V4)."""
    return F.softplus(x).sqrt()


def identity(x: Tensor) -> Tensor:
    """Return the input."""
    return x


@dataclass(frozen=True)
class ClampedSwish:
    """y · σ(alpha · y) of y = min(x, limit) (gpt-oss, OpenAI 2025, its reference code)."""

    part: spec.ClampedSwish

    def __call__(self, x: Tensor) -> Tensor:
        """Return the activation, in the input's shape."""
        x = x.clamp(max=self.part.limit)
        return x * torch.sigmoid(self.part.alpha * x)

    def gated(self, up: Tensor) -> Tensor:
        """Return the factor of the gate: clamped and shifted."""
        return up.clamp(-self.part.limit, self.part.limit) + self.part.up_offset


@dataclass(frozen=True)
class CappedSwish:
    """c(x) · σ(x) with c(x) = cap · tanh(x / cap) (Inkling 2, Thinking Machines Lab 2026, its reference code)."""

    part: spec.CappedSwish

    def __call__(self, x: Tensor) -> Tensor:
        """Return the activation, in the input's shape."""
        return _capped(x, self.part.cap) * torch.sigmoid(x)

    def gated(self, up: Tensor) -> Tensor:
        """Return the factor of the gate: capped."""
        return _capped(up, self.part.up_cap)


def _capped(x: Tensor, cap: float) -> Tensor:
    return torch.tanh(x / cap) * cap


class Xielu(nn.Module):
    """α₊x² + βx for x > 0, else α₋(eˣ − 1 − x) + βx; both α are learned (Huang & Schlag 2024, eq. 9).

    The α are the softplus of the stored parameters, α₋ plus β. Buffers hold β and eps, an upper bound of negative x.
    """

    beta: Tensor
    eps: Tensor

    # Both α begin at 0.8.
    FIRST_VALUES: ClassVar = {
        "alpha_p": math.log(math.expm1(0.8)),
        "alpha_n": math.log(math.expm1(0.3)),
        "beta": 0.5,
        "eps": -1e-6,
    }

    def __init__(self) -> None:
        super().__init__()
        self.alpha_p, self.alpha_n = nn.Parameter(torch.empty(1)), nn.Parameter(torch.empty(1))
        for name in ("beta", "eps"):
            self.register_buffer(name, torch.empty(()))

    def forward(self, x: Tensor) -> Tensor:
        """Return the activation, in the input's shape."""
        alpha_p, alpha_n = F.softplus(self.alpha_p), self.beta + F.softplus(self.alpha_n)
        below = (torch.expm1(torch.minimum(x, self.eps)) - x) * alpha_n + self.beta * x
        return torch.where(x > 0, alpha_p * x * x + self.beta * x, below)


ACTIVATIONS: dict[Activation, Function] = {
    "relu": F.relu,
    "relu2": relu2,
    "relu6": F.relu6,
    "leaky_relu": F.leaky_relu,  # 0.01 x below zero
    "gelu": F.gelu,
    "gelu_tanh": gelu_tanh,
    "gelu_10": gelu_10,
    "quick_gelu": quick_gelu,
    "silu": F.silu,
    "hardswish": F.hardswish,
    "mish": F.mish,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "laplace": laplace,
    "sqrt_softplus": sqrt_softplus,
    "clamped_swish": ClampedSwish(spec.ClampedSwish()),
    "capped_swish": CappedSwish(spec.CappedSwish()),
    "identity": identity,
}


def activation(part: spec.AnyActivation) -> Function:
    """Return the function, or a module if it has parameters."""
    if isinstance(part, spec.ClampedSwish):
        return ClampedSwish(part)
    if isinstance(part, spec.CappedSwish):
        return CappedSwish(part)
    return Xielu() if part == "xielu" else ACTIVATIONS[part]


def gated(act: Function, gate: Tensor, up: Tensor) -> Tensor:
    """Return act(gate) · up (Shazeer 2020, eq. 6), or the activation's own gating."""
    return act(gate) * (act.gated(up) if isinstance(act, ClampedSwish | CappedSwish) else up)
