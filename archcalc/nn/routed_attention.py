"""Attention whose queries and outputs are projected by experts.

Axes: B batch, T query tokens, S key tokens, D model, N query heads, K kv heads, H head width, E experts, k chosen
experts, Q all B·T tokens, C all Q·k choices, Z = K·H.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from archcalc.nn.arm_cache import CacheConfig, TokenCache
from archcalc.nn.attention_context import AttentionContext
from archcalc.nn.linear import ExpertLinear, Linear
from archcalc.nn.rope import rotate
from archcalc.nn.softmax import SoftmaxConfig, attend
from archcalc.nn.taps.points import tap
from archcalc.nn.upcast import upcast
from archcalc.spec import Spec
from archcalc.spec import routed as spec
from archcalc.spec.execution import Execution, Experts


class RoutedAttention(nn.Module):
    """A mixture of attention heads (Zhang et al. 2022): each token's experts project its queries and its output."""

    def __init__(self, part: spec.RoutedAttention, model: Spec) -> None:
        super().__init__()
        assert part.d_head is not None, "the spec is resolved"
        self.part, self.d_head = part, part.d_head
        self.execution: Execution | None = None  # None: the formulation of experts depends on the device
        width = part.n_kv_heads * part.d_head
        self.softmax = SoftmaxConfig(n_heads=part.n_heads, scale=part.score_scale, dropout=model.dropout.attention)
        self.router = Linear(model.d_model, part.n_experts, bias=False)
        self.q = ExpertLinear(part.n_experts, model.d_model, width, bias=False)
        self.k, self.v = (Linear(model.d_model, width, bias=False) for _ in "kv")
        self.out = ExpertLinear(part.n_experts, width, model.d_model, bias=False)
        self.out_bias = nn.Parameter(torch.empty(model.d_model)) if part.out_bias else None

    def forward(self, x_BTD: Tensor, context: AttentionContext) -> Tensor:
        """Map states [B, T, D] to states [B, T, D]."""
        weights_Qk, experts_Qk = self.route(x_BTD.flatten(0, 1))
        choices = self._choices(experts_Qk)
        q_CZ = choices.project(self.q, choices.inputs(x_BTD.flatten(0, 1)))
        q_BNTH = tap("q", self._rotated(self._split(q_CZ.view(*x_BTD.shape[:2], -1)), context))
        k_BKSH, v_BKSH = context.keys_values(lambda: self.keys_values(x_BTD, context))
        context = context.last_keys(k_BKSH.shape[2])
        k_BNSH, v_BNSH = (x.repeat(1, self.part.n_active, 1, 1) for x in (k_BKSH, v_BKSH))
        execution = self.execution or Execution()
        y_BNTH = attend(self.softmax, q_BNTH, k_BNSH, v_BNSH, context, execution, training=self.training)
        y_CZ = tap("values", y_BNTH).transpose(1, 2).reshape(experts_Qk.numel(), -1)
        y_CD = choices.project(self.out, choices.ordered(y_CZ))
        y_QkD = tap("experts", y_CD.view(*experts_Qk.shape, -1))
        y_BTD = (y_QkD * weights_Qk.unsqueeze(-1).to(y_QkD.dtype)).sum(-2).view_as(x_BTD)
        return y_BTD if self.out_bias is None else y_BTD + self.out_bias

    def route(self, x_QD: Tensor) -> tuple[Tensor, Tensor]:
        """Return weights (float32 at least) and indices of the chosen experts, both [Q, k], of states [Q, D]."""
        logits_QE = upcast(tap("router", self.router(x_QD)))
        experts_Qk = tap("chosen", logits_QE.detach().topk(self.part.n_active, dim=-1).indices)
        return tap("weights", logits_QE.gather(-1, experts_Qk).softmax(-1)), experts_Qk

    def keys_values(self, x_BTD: Tensor, context: AttentionContext) -> tuple[Tensor, Tensor]:
        """Return keys, rotated, and values [B, K, T, H], as a cache stores them."""
        k_BKTH, v_BKTH = (self._split(each(x_BTD)) for each in (self.k, self.v))
        return tap("k", self._rotated(k_BKTH, context)), tap("v", v_BKTH)

    def _choices(self, experts_Qk: Tensor) -> GatheredChoices | SortedChoices:
        how: Experts = (
            ("gather" if experts_Qk.is_meta else "split") if self.execution is None else self.execution.experts
        )
        return FORMULATIONS[how](experts_Qk, self.part.n_experts)

    def _rotated(self, x_BNTH: Tensor, context: AttentionContext) -> Tensor:
        position = self.part.position
        if position is None:
            return x_BNTH
        return rotate(x_BNTH, context.rotary_tables(position, x_BNTH.dtype), position.interleaved)

    def _split(self, x_BTZ: Tensor) -> Tensor:
        """Map [B, T, heads · H] to [B, heads, T, H]."""
        return x_BTZ.view(*x_BTZ.shape[:-1], -1, self.d_head).transpose(1, 2)


class GatheredChoices:
    """The choices of all tokens; a projection gathers a copy of the expert's matrix for each."""

    def __init__(self, experts_Qk: Tensor, n_experts: int) -> None:
        self.experts_Qk = experts_Qk

    def inputs(self, x_QD: Tensor) -> Tensor:
        """Return the input of each choice [C, D], in the order that `project` reads."""
        return x_QD.repeat_interleave(self.experts_Qk.shape[-1], 0)

    def ordered(self, x_Ci: Tensor) -> Tensor:
        """Return rows of the choices in the order that `project` reads."""
        return x_Ci

    def project(self, matrix: ExpertLinear, x_Ci: Tensor) -> Tensor:
        """Return each choice's projection by its expert, in the order of the choices."""
        y_Co: Tensor = matrix(x_Ci, self.experts_Qk.flatten())
        return y_Co


class SortedChoices:
    """The choices of all tokens, sorted by expert; a projection uses each matrix in place."""

    def __init__(self, experts_Qk: Tensor, n_experts: int) -> None:
        experts_C = experts_Qk.flatten()
        self.n_active, self.order_C = experts_Qk.shape[-1], experts_C.argsort(stable=True)
        self.inverse_C, self.counts = self.order_C.argsort(), experts_C.bincount(minlength=n_experts).tolist()

    def inputs(self, x_QD: Tensor) -> Tensor:
        """Return the input of each choice [C, D], in the order that `project` reads."""
        return x_QD[self.order_C // self.n_active]

    def ordered(self, x_Ci: Tensor) -> Tensor:
        """Return rows of the choices in the order that `project` reads."""
        return x_Ci[self.order_C]

    def project(self, matrix: ExpertLinear, x_Ci: Tensor) -> Tensor:
        """Return each choice's projection by its expert, in the order of the choices."""
        pieces = enumerate(torch.split(x_Ci, self.counts))
        return torch.cat([matrix.apply_expert(x_ci, expert) for expert, x_ci in pieces if len(x_ci)])[self.inverse_C]


FORMULATIONS: dict[Experts, type[GatheredChoices | SortedChoices]] = {
    "gather": GatheredChoices,
    "split": SortedChoices,
}


def token_cache(part: spec.RoutedAttention, config: CacheConfig) -> TokenCache:
    """Return a cache of keys and values [B, K, S, H] of all tokens."""
    assert part.d_head is not None, "the spec is resolved"
    keys, values = (config.empty_store(part.n_kv_heads, config.capacity, part.d_head) for _ in "kv")
    return TokenCache(keys, values)
