"""Mixtures of experts, in two formulations with the same result.

`gather` copies each chosen expert's matrices: no step depends on the data, so it runs on meta. `split` sorts the
choices by expert and uses the matrices in place: the default on a real device.

Axes: B batch, T tokens, D model, F an expert's width, E experts, k chosen experts, Q all B·T tokens, G groups, C all
Q·k choices.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archcalc.nn.activation import activation, gated
from archcalc.nn.ffn import Gated, Plain
from archcalc.nn.linear import ExpertLinear, Linear
from archcalc.nn.norm import norm
from archcalc.nn.router_mlp import RouterMlp
from archcalc.nn.router_states import RouterStates
from archcalc.nn.shared_experts import SharedExperts
from archcalc.nn.taps.points import tap, tap_scope
from archcalc.nn.upcast import upcast
from archcalc.spec import Spec
from archcalc.spec import ffn as spec
from archcalc.spec.execution import Execution


def _softmax(logits_QE: Tensor) -> Tensor:
    return logits_QE.softmax(-1)


# The scores by which experts are chosen, of their logits.
SCORES: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": _softmax,  # Fedus et al. 2021, eq. 1
    "sqrt_softplus": lambda logits_QE: F.softplus(logits_QE).sqrt(),  # DeepSeek-V4, section 2.1
    "sigmoid": torch.sigmoid,  # DeepSeek-V3, Liu et al. 2024, eq. 15
    "logits": lambda logits_QE: logits_QE,  # Shazeer et al. 2017, eq. 5
}


def _by_softmax(part: spec.MoE, logits_QE: Tensor, experts_Qk: Tensor) -> Tensor:
    """Return a softmax over the chosen experts alone (Shazeer et al. 2017, eq. 3)."""
    return logits_QE.gather(-1, experts_Qk).softmax(-1)


def _by_sigmoid(part: spec.MoE, logits_QE: Tensor, experts_Qk: Tensor) -> Tensor:
    return logits_QE.gather(-1, experts_Qk).sigmoid()


def _by_sparsemixer(part: spec.MoE, logits_QE: Tensor, experts_Qk: Tensor) -> Tensor:
    """Return each choice's share of a softmax over the logits near its own, without the earlier choices.

    GRIN, Liu et al. 2024, section 2.2, at inference.
    """
    assert part.jitter is not None, "the spec is resolved"
    others_Q1E = logits_QE.unsqueeze(-2)
    with torch.no_grad():
        best_Qk1 = logits_QE.gather(-1, experts_Qk).unsqueeze(-1)
        far_QkE = (best_Qk1 - others_Q1E) / others_Q1E.abs().maximum(best_Qk1) > 2 * part.jitter
        is_chosen_QkE = torch.zeros_like(far_QkE).scatter(-1, experts_Qk.unsqueeze(-1), True)
        earlier_QkE = is_chosen_QkE.cumsum(-2) - is_chosen_QkE.long() > 0
    near_QkE = others_Q1E.masked_fill(far_QkE | earlier_QkE, -torch.inf)
    return near_QkE.softmax(-1).gather(-1, experts_Qk.unsqueeze(-1)).squeeze(-1)


# The weights of the chosen experts, where they are not their scores.
WEIGHTS: dict[str, Callable[[spec.MoE, Tensor, Tensor], Tensor]] = {
    "softmax": _by_softmax,
    "sigmoid": _by_sigmoid,
    "sparsemixer": _by_sparsemixer,
}


def _no_correction(mixture: nn.Module, n_experts: int) -> None:
    mixture.register_parameter("correction_bias", None)


def _as_buffer(mixture: nn.Module, n_experts: int) -> None:
    mixture.register_buffer("correction_bias", torch.empty(n_experts))


def _as_parameter(mixture: nn.Module, n_experts: int) -> None:
    """Register a frozen parameter: the choice of experts gives it no gradient."""
    mixture.register_parameter("correction_bias", nn.Parameter(torch.empty(n_experts), requires_grad=False))


_CORRECTIONS: dict[str, Callable[[nn.Module, int], None]] = {
    "none": _no_correction,
    "buffer": _as_buffer,
    "parameter": _as_parameter,
}


class MoE(nn.Module):
    """Routed experts and a shared feed-forward (DeepSeek-V3, Liu et al. 2024, section 2.1.2)."""

    correction_bias: Tensor | None
    expert_table: Tensor | None

    def __init__(self, part: spec.MoE, model: Spec) -> None:
        super().__init__()
        self.part = part
        self.execution: Execution | None = None  # None: the formulation depends on the device
        self.input_norm = norm(part.input_norm, model.d_model) if part.input_norm else None
        self.router_norm = norm(part.router_norm, model.d_model) if part.router_norm else None
        self.router_mlp = RouterMlp(part.router_mlp, model.d_model) if part.router_mlp else None
        d_router = part.router_mlp.d_router if part.router_mlp else model.d_model
        self.router = Linear(d_router, part.n_scores, bias=part.router_bias)
        _CORRECTIONS[part.correction](self, part.n_choices)
        table = torch.empty(model.vocab_size, part.n_active, dtype=torch.long) if part.by_token else None
        self.register_buffer("expert_table", table)
        self.expert_scales = nn.Parameter(torch.empty(part.n_choices)) if part.expert_scales else None
        self.experts = Experts(part, part.d_latent or model.d_model, model.dropout.ffn)
        self.latent_down = self.latent_up = None
        if part.d_latent is not None:
            self.latent_down = Linear(model.d_model, part.d_latent, bias=part.latent_bias)
            self.latent_up = Linear(part.d_latent, model.d_model, bias=part.latent_bias)
        self.out_bias = nn.Parameter(torch.empty(model.d_model)) if part.out_bias else None
        self.weight_scale = nn.Parameter(torch.empty(1)) if part.weight_scale else None
        self.shared = _shared_ffn(part, model)
        self.shared_gate = Linear(model.d_model, 1, bias=False) if part.shared_gate else None

    def forward(
        self,
        x_BTD: Tensor,
        ids_BT: Tensor | None = None,
        states: RouterStates = RouterStates(),  # noqa: B008 - frozen
    ) -> Tensor:
        """Map states [B, T, D] to states [B, T, D].

        The tokens' ids choose experts if the part says so. `states` are those of routers.
        """
        x_QD = x_BTD.flatten(0, 1)
        weights_Qk, experts_Qk, shared_Qs = self.route(x_QD, x_BTD.shape[1], ids_BT, states)
        if self.input_norm is not None:
            x_BTD = self.input_norm(x_BTD)
            x_QD = x_BTD.flatten(0, 1)
        inner_QD = x_QD if self.latent_down is None else self.latent_down(x_QD)
        y_QD = _WEIGHING[self.part.weight_on](self, inner_QD, weights_Qk.unsqueeze(-1), experts_Qk)
        y_BTD = (y_QD if self.latent_up is None else self.latent_up(y_QD)).view_as(x_BTD)
        y_BTD = y_BTD if self.out_bias is None else y_BTD + self.out_bias
        if self.shared is None:
            return y_BTD
        y_BTD = y_BTD + self._shared_output(x_BTD, shared_Qs)
        return y_BTD / 2 if self.part.shared_combine == "average" else y_BTD

    def route(
        self,
        x_QD: Tensor,
        n_tokens: int,
        ids_BT: Tensor | None = None,
        states: RouterStates = RouterStates(),  # noqa: B008 - frozen
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return weights (float32 at least) and indices of the chosen experts, both [Q, k], of states [Q, D].

        And the weights [Q, s] of shared experts, if the router weighs those. Each text has `n_tokens` of the states.
        """
        part = self.part
        read_QD = x_QD if self.router_norm is None else self.router_norm(x_QD)
        if self.router_mlp is not None:
            read_QD = self.router_mlp(read_QD, states)
        logits_QE = upcast(tap("router", self.router(read_QD))) * part.router_scale
        if part.router_softcap is not None:
            logits_QE = part.router_softcap * torch.tanh(logits_QE / part.router_softcap)
        by_score = part.weigh == "score"
        scores_QE = SCORES[part.choose](logits_QE if by_score else logits_QE.detach())
        experts_Qk = tap("chosen", self._choice(scores_QE.detach()[:, : part.n_choices], ids_BT))
        weights_Qk = scores_QE.gather(-1, experts_Qk) if by_score else WEIGHTS[part.weigh](part, logits_QE, experts_Qk)
        if part.scores_shared:
            weights_Qk = torch.cat((weights_Qk, scores_QE[:, part.n_choices :]), -1)
        if part.normalize:
            weights_Qk = weights_Qk / self._divisor(weights_Qk.sum(-1, keepdim=True))
        weights_Qk = weights_Qk * part.scale
        if self.expert_scales is not None:
            weights_Qk = weights_Qk * upcast(self.expert_scales[experts_Qk])
        if part.capacity is not None:
            weights_Qk = weights_Qk.masked_fill(self._beyond_capacity(experts_Qk, n_tokens), 0.0)
        if self.weight_scale is not None:
            weights_Qk = weights_Qk * upcast(self.weight_scale)
        if not part.scores_shared:
            return tap("weights", weights_Qk), experts_Qk, None
        chosen_Qk, shared_Qs = torch.split(weights_Qk, [part.n_active, part.n_shared], -1)
        return tap("weights", chosen_Qk), experts_Qk, tap("shared_weights", shared_Qs)

    def _choice(self, scores_QE: Tensor, ids_BT: Tensor | None) -> Tensor:
        """Return the indices [Q, k] of the chosen experts: the best, or those of the tokens' ids."""
        if self.expert_table is None:
            return self._choice_scores(scores_QE).topk(self.part.n_active, dim=-1).indices
        assert ids_BT is not None, "a layer whose tokens choose has their ids"
        return self.expert_table[ids_BT.flatten()]

    def _beyond_capacity(self, experts_Qk: Tensor, n_tokens: int) -> Tensor:
        """Return True [Q, k] where the chosen expert has taken its capacity (Fedus et al. 2021, section 2.2)."""
        assert self.part.capacity is not None, "called only where there is one"
        experts_BkT = experts_Qk.view(-1, n_tokens, self.part.n_active).transpose(1, 2)
        order_BC = experts_BkT.flatten(1)  # all first choices, then all second ones
        taken_BCE = F.one_hot(order_BC, self.part.n_choices).cumsum(1)
        places_BC = taken_BCE.gather(-1, order_BC.unsqueeze(-1)).squeeze(-1)
        return (places_BC > self.part.capacity).view_as(experts_BkT).transpose(1, 2).reshape(experts_Qk.shape)

    def _divisor(self, sum_Q1: Tensor) -> Tensor:
        return sum_Q1 + 1e-20 if self.part.normalize_min is None else sum_Q1.clamp(min=self.part.normalize_min)

    def _choice_scores(self, scores_QE: Tensor) -> Tensor:
        """Return the scores for the choice: corrected, and −∞ outside the best groups."""
        if self.correction_bias is not None:
            scores_QE = scores_QE + self.correction_bias
        if self.part.n_active_groups == self.part.n_groups:
            return scores_QE
        scores_QGe = scores_QE.view(len(scores_QE), self.part.n_groups, -1)
        best_Qg = self._group_scores(scores_QGe).topk(self.part.n_active_groups, dim=-1).indices
        excluded_QG = torch.ones_like(scores_QGe[..., 0], dtype=torch.bool).scatter(-1, best_Qg, False)
        return scores_QGe.masked_fill(excluded_QG.unsqueeze(-1), -torch.inf).flatten(-2)

    def _group_scores(self, scores_QGe: Tensor) -> Tensor:
        """Return a group's score [Q, G]: its best expert's, or its two best, summed (DeepSeek's reference code)."""
        n_best = 2 if self.part.group_score == "two_best" else 1
        return scores_QGe.topk(min(n_best, scores_QGe.shape[-1]), dim=-1).values.sum(-1)

    def chosen_outputs(self, x_QD: Tensor, experts_Qk: Tensor) -> Tensor:
        """Return the outputs [Q, k, D] of the chosen experts; those without weights return their input or 0.

        Their choices are computed with the last expert first, so that no shape depends on the data.
        """
        n_experts = self.part.n_experts
        if not self.part.n_zero:
            y_QkD: Tensor = self.experts(x_QD, experts_Qk, self.execution)
            return y_QkD
        y_QkD = self.experts(x_QD, experts_Qk.clamp(max=n_experts - 1), self.execution)
        is_zero_Qk1 = (experts_Qk >= n_experts).unsqueeze(-1)
        if self.part.zero_returns == "nothing":
            return y_QkD.masked_fill(is_zero_Qk1, 0.0)
        return torch.where(is_zero_Qk1, x_QD.unsqueeze(1), y_QkD)

    def _shared_output(self, x_BTD: Tensor, weights_Qs: Tensor | None) -> Tensor:
        assert self.shared is not None, "called only where it exists"
        if isinstance(self.shared, SharedExperts):
            assert weights_Qs is not None, "the router weighs them"
            drops = self.training and (self.execution is None or self.execution.dropout)
            weighted: Tensor = self.shared(x_BTD, weights_Qs.to(x_BTD.dtype), drops=drops)
            return weighted
        y_BTD: Tensor = tap_scope("shared", self.shared, x_BTD)
        return y_BTD if self.shared_gate is None else y_BTD * torch.sigmoid(self.shared_gate(x_BTD))


def _weigh_outputs(mixture: MoE, x_QD: Tensor, weights_Qk1: Tensor, experts_Qk: Tensor) -> Tensor:
    """Return the weighted sum of the chosen experts' outputs."""
    y_QkD = tap("experts", mixture.chosen_outputs(x_QD, experts_Qk))
    return (y_QkD * weights_Qk1.to(y_QkD.dtype)).sum(-2)


def _weigh_inputs(mixture: MoE, x_QD: Tensor, weights_Qk1: Tensor, experts_Qk: Tensor) -> Tensor:
    """Return the sum of the chosen experts' outputs for weighted inputs: each choice is a token of its own."""
    x_CD = (x_QD.unsqueeze(-2) * weights_Qk1.to(x_QD.dtype)).flatten(0, 1)
    y_CD = mixture.experts(x_CD, experts_Qk.view(-1, 1), mixture.execution)
    return tap("experts", y_CD.view(*experts_Qk.shape, -1)).sum(-2)


_WEIGHING: dict[str, Callable[[MoE, Tensor, Tensor, Tensor], Tensor]] = {
    "output": _weigh_outputs,
    "input": _weigh_inputs,
}


class Experts(nn.Module):
    """The experts' feed-forwards: gate and up [E, F, D], down [E, D, F]; D is the width of what they read."""

    gate: ExpertLinear | None

    def __init__(self, part: spec.MoE, width: int, dropout: float) -> None:
        super().__init__()
        n_stored = part.n_choices if part.zero_stored else part.n_experts
        sizes = (n_stored, width, part.d_expert, part.expert_bias)
        self.dropout = dropout
        self.activation = activation(part.activation)
        self.gate = ExpertLinear(*sizes) if part.gated else None
        self.up = ExpertLinear(*sizes)
        self.down = ExpertLinear(part.n_experts, part.d_expert, width, part.expert_bias)

    def forward(self, x_QD: Tensor, experts_Qk: Tensor, execution: Execution | None) -> Tensor:
        """Return the chosen experts' outputs [Q, k, D] of states [Q, D] and indices [Q, k]."""
        if execution is None:
            execution = Execution(experts="gather" if x_QD.is_meta else "split")
        y_CD = FORMULATIONS[execution.experts](
            self, x_QD, experts_Qk, self.dropout if self.training and execution.dropout else 0.0
        )
        return y_CD.view(*experts_Qk.shape, -1)

    def run(self, x_CD: Tensor, linear: Callable[[ExpertLinear, Tensor], Tensor], dropout: float) -> Tensor:
        """Return the feed-forward of inputs [C, D]; `linear` applies each matrix."""
        if self.gate is None:
            hidden_CF = self.activation(linear(self.up, x_CD))
        else:
            hidden_CF = gated(self.activation, linear(self.gate, x_CD), linear(self.up, x_CD))
        return linear(self.down, F.dropout(hidden_CF, dropout, dropout > 0))


def _gather(experts: Experts, x_QD: Tensor, experts_Qk: Tensor, dropout: float) -> Tensor:
    """Apply a copy of its expert's matrices to every choice: gather, then bmm."""
    x_CD, experts_C = x_QD.repeat_interleave(experts_Qk.shape[-1], 0), experts_Qk.flatten()
    return experts.run(x_CD, lambda matrix, x: cast(Tensor, matrix(x, experts_C)), dropout)


def _split(experts: Experts, x_QD: Tensor, experts_Qk: Tensor, dropout: float) -> Tensor:
    """Sort the choices by expert, and apply each expert's matrices to its own."""
    experts_C = experts_Qk.flatten()
    order_C = experts_C.argsort(stable=True)
    x_CD = x_QD[order_C // experts_Qk.shape[-1]]
    outputs, first = [], 0
    for expert, count in enumerate(experts_C.bincount(minlength=len(experts.up.weight)).tolist()):
        if count:
            outputs.append(
                experts.run(x_CD[first : first + count], partial(ExpertLinear.apply_expert, expert=expert), dropout)
            )
        first += count
    return torch.cat(outputs)[order_C.argsort()]


FORMULATIONS: dict[str, Callable[[Experts, Tensor, Tensor, float], Tensor]] = {"gather": _gather, "split": _split}


def _shared_ffn(part: spec.MoE, model: Spec) -> Plain | Gated | SharedExperts | None:
    """Return the shared experts, as one feed-forward unless the router weighs them; None if there are none."""
    if not part.n_shared:
        return None
    if part.scores_shared:
        return SharedExperts(part, model.d_model, model.dropout.ffn)
    assert part.d_shared is not None, "the spec is resolved"
    width, act = part.n_shared * part.d_shared, part.shared_activation or part.activation
    if part.gated:
        return Gated(spec.Gated(d_ff=width, activation=act, bias=bool(part.shared_bias)), model)
    return Plain(spec.Plain(d_ff=width, activation=act, bias=bool(part.shared_bias)), model)
