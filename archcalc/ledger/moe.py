"""Mixtures of experts: router, routed experts as stacked tensors, shared experts."""

from __future__ import annotations

from collections.abc import Callable

from archcalc.ledger import norm, router_mlp
from archcalc.ledger.activation import activation, gated_activation
from archcalc.ledger.algebra import ONE, Poly
from archcalc.ledger.ffn import FfnOptions, dense
from archcalc.ledger.forward_context import ForwardContext, dropout, save
from archcalc.ledger.leaves import Elementwise, Forward, Kind, Matmul, Pointwise, Save, Weight, with_prefix
from archcalc.ledger.linear import linear
from archcalc.ledger.symbols import Symbols
from archcalc.ledger.tensor import Tensor
from archcalc.spec.execution import Experts
from archcalc.spec.ffn import MoE

# One linear layer of every expert, applied to each choice: (part, name, input, output width, choices, symbols).
ExpertLinear = Callable[[MoE, str, Tensor, Poly, Tensor, Symbols], Forward[Tensor]]


def leaves(part: MoE, d: Symbols, x: Tensor, ctx: ForwardContext) -> Forward[Tensor]:
    """Yield the leaves of router and experts, of which each token uses n_active."""
    router_input = yield from norm.leaves(part.router_norm, "router_norm", x, ctx)
    router_input = yield from with_prefix("router_mlp.", router_mlp.leaves(part.router_mlp, d, router_input, ctx))
    n_choices = d.n_experts + d.n_zero if part.n_zero else d.n_experts
    n_scores = n_choices + d.n_shared if part.scores_shared else n_choices
    logits = yield from linear("router", router_input, n_scores, "ffn", bias=part.router_bias)
    if part.correction != "none":
        yield Weight("correction_bias", (n_choices,), "ffn", kind=_CORRECTIONS[part.correction])
    if part.by_token:
        yield Weight("expert_table", (d.vocab_size, d.n_active), "ffn", kind="buffer")
    *before, _ = x.axes
    chosen = Tensor("chosen experts", (*before, d.n_active), "int64")
    routing_weights = yield from _routing_weights(part, logits, chosen, d)
    shared_weights = None
    if part.weight_scale:
        routing_weights = yield from _scaled_weights(routing_weights, x)
    if part.scores_shared:
        shared_weights = routing_weights.view(*before, d.n_shared)
        routing_weights = routing_weights.view(*chosen.axes)
    if part.expert_scales:
        yield Weight("expert_scales", (n_choices,), "ffn")
        scales = routing_weights.new("scales of the chosen experts")
        yield from save("expert_scales", "ffn", chosen, routing_weights, scales)
        routing_weights = routing_weights.new("shares")
    if part.capacity is not None:
        yield Save("router", Tensor("beyond capacity", chosen.axes, "bool"), "ffn")
        routing_weights = routing_weights.new("shares")
    x = yield from norm.leaves(part.input_norm, "input_norm", x, ctx)
    expert_input = yield from _to_latent(part, d, x)
    experts = _WEIGHT_PLACES[part.weight_on]
    yield from experts(part, d, expert_input, chosen, routing_weights.as_dtype(x.dtype), ctx)
    if part.d_latent is not None:
        yield from linear("latent_up", expert_input.new("sum"), d.d_model, "ffn", bias=part.latent_bias)
    if part.out_bias:
        yield Weight("out_bias", (d.d_model,), "ffn")
    y = x.new("mixed")
    if part.n_shared:
        y = yield from (
            _shared_experts(part, d, x, ctx)
            if shared_weights is None
            else with_prefix("shared.", _weighted_experts(part, d, x, shared_weights.as_dtype(x.dtype), ctx))
        )
    return y


def _to_latent(part: MoE, d: Symbols, x: Tensor) -> Forward[Tensor]:
    """Yield the leaves of the projection that the routed experts read; without one they read the input."""
    if part.d_latent is None:
        return x
    return (yield from linear("latent_down", x, d.d_latent, "ffn", bias=part.latent_bias))


def _weigh_outputs(
    part: MoE, d: Symbols, x: Tensor, chosen: Tensor, routing_weights: Tensor, ctx: ForwardContext
) -> Forward[None]:
    """Multiply the outputs of the chosen experts with their routing weights, then sum.

    A choice of an expert without weights is computed with another expert, whose output its input, or 0, replaces.
    """
    expert = chosen.new("expert of each choice") if part.n_zero else chosen
    y = yield from with_prefix("experts.", FORMULATIONS[ctx.execution.experts](part, d, x, expert, ctx))
    if part.n_zero:
        yield Save("zero", Tensor("has no weights", (*chosen.axes, ONE), "bool"), "ffn")
        y = y.new("outputs")
    yield from save("weighted", "ffn", y, routing_weights)


def _weigh_inputs(
    part: MoE, d: Symbols, x: Tensor, chosen: Tensor, routing_weights: Tensor, ctx: ForwardContext
) -> Forward[None]:
    """Multiply the inputs of the chosen experts with their routing weights; the sum saves nothing."""
    yield from save("weighted", "ffn", x, routing_weights)
    yield from with_prefix("experts.", FORMULATIONS[ctx.execution.experts](part, d, x, chosen, ctx))


_WEIGHT_PLACES: dict[str, Callable[[MoE, Symbols, Tensor, Tensor, Tensor, ForwardContext], Forward[None]]] = {
    "output": _weigh_outputs,
    "input": _weigh_inputs,
}
_CORRECTIONS: dict[str, Kind] = {"buffer": "buffer", "parameter": "frozen"}


def _scaled_weights(routing_weights: Tensor, x: Tensor) -> Forward[Tensor]:
    """Yield the leaves of a learned number that multiplies all weights, in float32."""
    yield Weight("weight_scale", (ONE,), "ffn")
    yield Elementwise("weight_scale", routing_weights.axes, "ffn", "product")
    factor = Tensor("weight_scale", (ONE,), x.dtype, is_stored=True).as_dtype("fp32")
    yield from save("weight_scale", "ffn", routing_weights, factor)
    return routing_weights.new("shares")


def _routing_weights(part: MoE, logits: Tensor, chosen: Tensor, d: Symbols) -> Forward[Tensor]:
    """Yield the leaves of the routing weights, in float32. The choice itself is not differentiable."""
    logits = logits.new("logits", dtype="fp32")
    if part.router_softcap is not None:
        yield Elementwise("router", logits.axes, "ffn", "softcap")
        yield Save("router", logits.new("tanh of the logits"), "ffn")
        logits = logits.new("capped")
    if part.choose != "logits":
        yield Elementwise("router", logits.axes, "ffn", part.choose)
    if part.choose == "sqrt_softplus" and part.weigh == "score":
        yield Save("router", logits, "ffn")
    routing_weights = yield from WEIGHTS[part.weigh](logits, chosen)
    if part.scores_shared:
        routing_weights = routing_weights.new("shares", *chosen.axes[:-1], d.n_active + d.n_shared)
    if part.normalize:
        sum_ = routing_weights.new("sum of the shares", *routing_weights.axes[:-1], ONE)
        yield from save("router", "ffn", routing_weights, sum_)
        if part.normalize_min is not None:
            yield Save("router", sum_.new("sum of the shares, clamped"), "ffn")
    return routing_weights.new("shares")


def _score_weights(logits: Tensor, chosen: Tensor) -> Forward[Tensor]:
    """Save the scores, for their derivative and for the selection."""
    yield from save("router", "ffn", logits.new("scores"), chosen)
    return chosen.new("shares", dtype="fp32")


def _softmax_weights(logits: Tensor, chosen: Tensor) -> Forward[Tensor]:
    return _chosen_weights("softmax", logits, chosen)


def _sigmoid_weights(logits: Tensor, chosen: Tensor) -> Forward[Tensor]:
    return _chosen_weights("sigmoid", logits, chosen)


def _chosen_weights(operation: Pointwise, logits: Tensor, chosen: Tensor) -> Forward[Tensor]:
    """Yield the leaves of a function of the chosen logits, which saves its output."""
    yield Elementwise("router", chosen.axes, "ffn", operation)
    routing_weights = chosen.new("shares", dtype="fp32")
    yield from save("router", "ffn", logits, chosen, routing_weights)
    return routing_weights


def _sparsemixer_weights(logits: Tensor, chosen: Tensor) -> Forward[Tensor]:
    """Yield a softmax over all experts for each choice, without those far from it or chosen before."""
    probabilities = logits.new("softmax of each choice", *chosen.axes, logits.axes[-1])
    yield Elementwise("router", probabilities.axes, "ffn", "softmax")
    yield from save("router", "ffn", probabilities.new("hidden experts", dtype="bool"), probabilities, chosen)
    return chosen.new("shares", dtype="fp32")


WEIGHTS: dict[str, Callable[[Tensor, Tensor], Forward[Tensor]]] = {
    "score": _score_weights,
    "softmax": _softmax_weights,
    "sigmoid": _sigmoid_weights,
    "sparsemixer": _sparsemixer_weights,
}


def _gather_experts(part: MoE, d: Symbols, x: Tensor, chosen: Tensor, ctx: ForwardContext) -> Forward[Tensor]:
    """Gather a copy of the expert's matrices for each choice, so that no shape depends on the data."""
    return _expert_ffn(_gather_linear, part, d, x, chosen, ctx)


def _split_experts(part: MoE, d: Symbols, x: Tensor, chosen: Tensor, ctx: ForwardContext) -> Forward[Tensor]:
    """Sort the choices by expert, and multiply each expert's choices with its matrices."""
    order = chosen.new("sorted by expert")
    yield Save("split", order, "ffn")
    y = yield from _expert_ffn(_split_linear, part, d, x, chosen, ctx)
    yield Save("split", chosen.new("back in order"), "ffn")
    return y.new("mixed")


def _expert_ffn(
    expert_linear: ExpertLinear, part: MoE, d: Symbols, x: Tensor, chosen: Tensor, ctx: ForwardContext
) -> Forward[Tensor]:
    """Yield the leaves of the feed-forward of each choice."""
    batch, tokens, d_model = x.axes
    choice_input = x.new("states of each choice", batch, tokens * d.n_active, d_model)
    if part.gated:
        gate = yield from expert_linear(part, "gate", choice_input, d.d_expert, chosen, d)
        up = yield from expert_linear(part, "up", choice_input, d.d_expert, chosen, d)
        hidden = yield from gated_activation(part.activation, "activation", "ffn", gate, up)
    else:
        up = yield from expert_linear(part, "up", choice_input, d.d_expert, chosen, d)
        hidden = yield from activation(part.activation, "activation", "ffn", up)
    hidden = yield from dropout(hidden, ctx.dropout.ffn, ctx, "ffn", "activation")
    return (yield from expert_linear(part, "down", hidden, d_model, chosen, d))


def _gather_linear(part: MoE, name: str, x: Tensor, out: Poly, chosen: Tensor, d: Symbols) -> Forward[Tensor]:
    batch, choices, into = x.axes
    yield from _weights(part, name, out, into, d)
    yield from save(name, "ffn", chosen, x.new("weights of each choice", batch, choices, out, into), x)
    yield Matmul(name, (*x.axes, out), "ffn")
    if part.expert_bias:
        yield Save(name, chosen, "ffn")
    return x.new(name, batch, choices, out)


def _split_linear(part: MoE, name: str, x: Tensor, out: Poly, chosen: Tensor, d: Symbols) -> Forward[Tensor]:
    batch, choices, into = x.axes
    yield from _weights(part, name, out, into, d)
    yield Save(name, x, "ffn")
    yield Matmul(name, (*x.axes, out), "ffn")
    return x.new(name, batch, choices, out)


FORMULATIONS: dict[Experts, Callable[[MoE, Symbols, Tensor, Tensor, ForwardContext], Forward[Tensor]]] = {
    "gather": _gather_experts,
    "split": _split_experts,
}


def _weights(part: MoE, name: str, out: Poly, into: Poly, d: Symbols) -> list[Weight]:
    """Return one matrix of all experts and its biases, stacked along n_experts."""
    axes = {f"{name}.weight": (out, into)} | ({f"{name}.bias": (out,)} if part.expert_bias else {})
    n_stored = d.n_experts + d.n_zero if part.zero_stored and name != "down" else d.n_experts
    return [Weight(tensor, (n_stored, *own), "ffn", active_axes=(d.n_active, *own)) for tensor, own in axes.items()]


def _weighted_experts(part: MoE, d: Symbols, x: Tensor, weights: Tensor, ctx: ForwardContext) -> Forward[Tensor]:
    """Yield the leaves of shared experts whose matrices are stacked, with a weight for each."""
    *before, d_model = x.axes
    gate = yield from _stacked("gate", x, (d.n_shared, *before, d_model), d.d_shared)
    up = yield from _stacked("up", x, (d.n_shared, *before, d_model), d.d_shared)
    function = part.shared_activation or part.activation
    hidden = yield from gated_activation(function, "activation", "ffn", gate, up)
    yield Elementwise("activation", hidden.axes, "ffn", "product")
    yield from save("activation", "ffn", hidden, weights)
    hidden = yield from dropout(hidden.new("weighted"), ctx.dropout.ffn, ctx, "ffn", "activation")
    yield from _stacked("down", hidden, hidden.axes, d_model)
    return x.new("mixed")


def _stacked(name: str, x: Tensor, axes: tuple[Poly, ...], out: Poly) -> Forward[Tensor]:
    """Yield the leaves of a matrix of each shared expert, applied to inputs of these axes."""
    n, *before, into = axes
    yield Weight(f"{name}.weight", (n, out, into), "ffn")
    yield Save(name, x, "ffn")
    yield Matmul(name, (*axes, out), "ffn")
    return x.new(name, n, *before, out)


def _shared_experts(part: MoE, d: Symbols, x: Tensor, ctx: ForwardContext) -> Forward[Tensor]:
    """Yield the leaves of the shared experts, and of their gate if there is one."""
    width = d.n_shared * d.d_shared
    function, bias = part.shared_activation or part.activation, bool(part.shared_bias)
    output = dense(function, width, x, ctx, FfnOptions(part.gated, bias, bias))
    y = yield from with_prefix("shared.", output)
    if part.shared_gate:
        gate = yield from linear("shared_gate", x, ONE, "ffn", bias=False)
        yield from save("shared_gate", "ffn", gate.new("sigmoid"), y)
    return x.new("mixed")
