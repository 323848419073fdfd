"""Dense feed-forwards.

Axes: B batch, T tokens, D model, F feed-forward width.
"""

from __future__ import annotations

from statistics import NormalDist

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archcalc.nn.activation import activation, gated
from archcalc.nn.linear import AdapterLinear, Linear, LowRankPairs, linear
from archcalc.nn.norm import norm
from archcalc.nn.scaling import multiply
from archcalc.nn.taps.points import tap
from archcalc.spec import Spec
from archcalc.spec import ffn as spec
from archcalc.spec.execution import Execution


class Plain(nn.Module):
    """down(activation(up(x))) (Vaswani et al. 2017, eq. 2)."""

    down_norm: nn.Module | None

    def __init__(self, part: spec.Plain, model: Spec) -> None:
        super().__init__()
        self.dropout, self.execution = model.dropout.ffn, Execution()
        self.up = linear(model.d_model, part.d_ff, bias=part.bias, block=part.up_block)
        self.activation = activation(part.activation)
        self.down_norm = norm(part.down_norm, part.d_ff) if part.down_norm else None
        self.down = linear(part.d_ff, model.d_model, bias=spec.has_down_bias(part), block=part.down_block)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Map states [B, T, D] to states [B, T, D]."""
        return project_down(self, tap("hidden", self.activation(self.up(x_BTD))))


class Gated(nn.Module):
    """down(activation(gate(x)) · up(x)) (Shazeer 2020, eq. 6)."""

    down_norm: nn.Module | None
    gate_up_pairs: LowRankPairs | None

    def __init__(self, part: spec.Gated, model: Spec) -> None:
        super().__init__()
        self.dropout, self.execution = model.dropout.ffn, Execution()
        self.gate_scale = part.gate_scale
        self.sparsity = part.sparsity
        self.gate = Linear(model.d_model, part.d_ff, bias=part.bias)
        self.up = Linear(model.d_model, part.d_ff, bias=part.bias)
        pairs = part.low_rank
        self.active = 0 if pairs is None else pairs.active
        self.gate_up_pairs = (
            None if pairs is None else LowRankPairs(pairs.n_pairs, model.d_model, pairs.pair_rank, 2 * part.d_ff)
        )
        self.activation = activation(part.activation)
        self.down_norm = norm(part.down_norm, part.d_ff) if part.down_norm else None
        self.down = Linear(part.d_ff, model.d_model, bias=spec.has_down_bias(part))
        self.out_scale = nn.Parameter(torch.empty(1)) if part.out_scale else None

    def forward(self, x_BTD: Tensor, pair: int | None = None) -> Tensor:
        """Map states [B, T, D] to states [B, T, D]. `pair` is the low-rank pair of this use, by default its own."""
        gate_BTF, up_BTF = self.gate(x_BTD), self.up(x_BTD)
        if self.gate_up_pairs is not None:
            more_BTF = self.gate_up_pairs(x_BTD, self.active if pair is None else pair).chunk(2, -1)
            gate_BTF, up_BTF = gate_BTF + more_BTF[0], up_BTF + more_BTF[1]
        gate_BTF = multiply(gate_BTF, self.gate_scale)
        gate_BTF = gate_BTF if self.sparsity is None else sparse(gate_BTF, self.sparsity)
        y_BTD = project_down(self, tap("hidden", gated(self.activation, gate_BTF, up_BTF)))
        return y_BTD if self.out_scale is None else y_BTD * self.out_scale


class Adapters(nn.Module):
    """One of several feed-forwards whose matrices are stacked (X-MOD, Pfeiffer et al. 2022, section 3)."""

    def __init__(self, part: spec.Adapters, model: Spec) -> None:
        super().__init__()
        self.dropout, self.execution = model.dropout.ffn, Execution()
        self.activation = activation(part.activation)
        which = part.n_adapters, part.active
        self.experts = nn.ModuleDict(
            {
                "up": AdapterLinear(*which, model.d_model, part.d_adapter, part.bias),
                "down": AdapterLinear(*which, part.d_adapter, model.d_model, part.bias),
            }
        )

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Map states [B, T, D] to states [B, T, D]."""
        hidden_BTF = tap("hidden", self.activation(self.experts["up"](x_BTD)))
        y_BTD: Tensor = self.experts["down"](
            F.dropout(hidden_BTF, self.dropout, self.training and self.execution.dropout)
        )
        return y_BTD


class StateProjection(nn.Module):
    """A matrix from the model's width to the same width."""

    def __init__(self, part: spec.StateProjection, model: Spec) -> None:
        super().__init__()
        self.project = Linear(model.d_model, model.d_model, bias=part.bias)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Map states [B, T, D] to states [B, T, D]."""
        y_BTD: Tensor = self.project(x_BTD)
        return y_BTD


def sparse(x_BTF: Tensor, sparsity: float) -> Tensor:
    """Return what exceeds a threshold of each token, which a share of a normal distribution does not (Gemma 3n)."""
    deviation_BT1 = x_BTF.std(-1, keepdim=True, unbiased=False)
    return F.relu(x_BTF - (x_BTF.mean(-1, keepdim=True) + deviation_BT1 * NormalDist().inv_cdf(sparsity)))


def project_down(ffn: Plain | Gated, hidden_BTF: Tensor) -> Tensor:
    """Return states [B, T, D] of hidden units [B, T, F]: dropout, a norm if there is one, the last matrix."""
    hidden_BTF = F.dropout(hidden_BTF, ffn.dropout, ffn.training and ffn.execution.dropout)
    y_BTD: Tensor = ffn.down(hidden_BTF if ffn.down_norm is None else ffn.down_norm(hidden_BTF))
    return y_BTD
