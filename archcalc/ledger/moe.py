"""Mixtures of experts: router, routed experts as stacked tensors, shared experts."""

from __future__ import annotations

from collections.abc import Callable

from archcalc.ledger.activation import activated, gated
from archcalc.ledger.algebra import ONE, Poly
from archcalc.ledger.ffn import Maps, dense
from archcalc.ledger.forward import Pass, dropped, saved
from archcalc.ledger.leaves import Elementwise, Forward, Kind, Matmul, Pointwise, Saved, Weight, under
from archcalc.ledger.linear import linear
from archcalc.ledger.symbols import Symbols
from archcalc.ledger.tensors import Tensor
from archcalc.spec.execution import Experts
from archcalc.spec.ffn import MoE

# One matrix of every expert, applied to each choice: (part, its name, its input, its outputs' width, the choices).
Stacked = Callable[[MoE, str, Tensor, Poly, Tensor, Symbols], Forward[Tensor]]


def leaves(part: MoE, d: Symbols, x: Tensor, here: Pass) -> Forward[Tensor]:
    """All experts, of which a token uses n_active; the router sees every token whole."""
    logits = yield from linear("router", x, d.n_experts, "ffn", bias=part.router_bias)
    if part.correction != "none":
        yield Weight("correction_bias", (d.n_experts,), "ffn", kind=_CORRECTIONS[part.correction])
    *before, _ = x.axes
    chosen = Tensor("chosen experts", (*before, d.n_active), "int64")
    shares = yield from _shares(part, logits, chosen)
    yield from _WEIGHING[part.weight_on](part, d, x, chosen, shares.as_dtype(x.dtype), here)
    y = x.new("mixed")
    if part.n_shared:
        y = yield from _shared(part, d, x, here)
    return y


def _of_output(part: MoE, d: Symbols, x: Tensor, chosen: Tensor, shares: Tensor, here: Pass) -> Forward[None]:
    """What the chosen experts make, times their shares, then summed."""
    y = yield from under("experts.", FORMULATIONS[here.how.experts](part, d, x, chosen, here))
    yield from saved("weighted", "ffn", y, shares)


def _of_input(part: MoE, d: Symbols, x: Tensor, chosen: Tensor, shares: Tensor, here: Pass) -> Forward[None]:
    """What the chosen experts make of the states times their shares; a sum keeps nothing."""
    yield from saved("weighted", "ffn", x, shares)
    yield from under("experts.", FORMULATIONS[here.how.experts](part, d, x, chosen, here))


_WEIGHING: dict[str, Callable[[MoE, Symbols, Tensor, Tensor, Tensor, Pass], Forward[None]]] = {
    "output": _of_output,
    "input": _of_input,
}
_CORRECTIONS: dict[str, Kind] = {"buffer": "buffer", "parameter": "frozen"}


def _shares(part: MoE, logits: Tensor, chosen: Tensor) -> Forward[Tensor]:
    """What each chosen expert's output is multiplied with, in float32; the choice itself is not differentiated."""
    logits = logits.new("logits", dtype="fp32")
    if part.router_softcap is not None:
        yield Elementwise("router", logits.axes, "ffn", "softcap")
        yield Saved("router", logits.new("tanh of the logits"), "ffn")
        logits = logits.new("capped")
    if part.choose != "logits":
        yield Elementwise("router", logits.axes, "ffn", part.choose)
    shares = yield from WEIGHTS[part.weigh](logits, chosen)
    if part.normalise:
        sum_ = shares.new("sum of the shares", *shares.axes[:-1], ONE)
        yield from saved("router", "ffn", shares, sum_)
        if part.normalise_min is not None:
            yield Saved("router", sum_.new("sum of the shares, clamped"), "ffn")
    return shares.new("shares")


def _by_score(logits: Tensor, chosen: Tensor) -> Forward[Tensor]:
    """The scores' own derivative and the choice among them keep the scores."""
    yield from saved("router", "ffn", logits.new("scores"), chosen)
    return chosen.new("shares", dtype="fp32")


def _by_softmax(logits: Tensor, chosen: Tensor) -> Forward[Tensor]:
    return _of_chosen("softmax", logits, chosen)


def _by_sigmoid(logits: Tensor, chosen: Tensor) -> Forward[Tensor]:
    return _of_chosen("sigmoid", logits, chosen)


def _of_chosen(operation: Pointwise, logits: Tensor, chosen: Tensor) -> Forward[Tensor]:
    """A function of the chosen logits, which keeps its result."""
    yield Elementwise("router", chosen.axes, "ffn", operation)
    shares = chosen.new("shares", dtype="fp32")
    yield from saved("router", "ffn", logits, chosen, shares)
    return shares


def _by_sparsemixer(logits: Tensor, chosen: Tensor) -> Forward[Tensor]:
    """A softmax over all experts for every choice, those hidden that are far from it or chosen before."""
    every = logits.new("softmax of each choice", *chosen.axes, logits.axes[-1])
    yield Elementwise("router", every.axes, "ffn", "softmax")
    yield from saved("router", "ffn", every.new("hidden experts", dtype="bool"), every, chosen)
    return chosen.new("shares", dtype="fp32")


WEIGHTS: dict[str, Callable[[Tensor, Tensor], Forward[Tensor]]] = {
    "score": _by_score,
    "softmax": _by_softmax,
    "sigmoid": _by_sigmoid,
    "sparsemixer": _by_sparsemixer,
}


def _gathered(part: MoE, d: Symbols, x: Tensor, chosen: Tensor, here: Pass) -> Forward[Tensor]:
    """Every choice with a copy of its expert's matrices: nothing depends on the data."""
    return _experts(_gathered_linear, part, d, x, chosen, here)


def _split(part: MoE, d: Symbols, x: Tensor, chosen: Tensor, here: Pass) -> Forward[Tensor]:
    """The choices sorted by expert, and each expert's share of them multiplied with its matrices as they stand."""
    order = chosen.new("sorted by expert")
    yield Saved("split", order, "ffn")
    y = yield from _experts(_split_linear, part, d, x, chosen, here)
    yield Saved("split", chosen.new("back in order"), "ffn")
    return y.new("mixed")


def _experts(stacked: Stacked, part: MoE, d: Symbols, x: Tensor, chosen: Tensor, here: Pass) -> Forward[Tensor]:
    """The feed-forward of every choice."""
    batch, tokens, d_model = x.axes
    each = x.new("states of each choice", batch, tokens * d.n_active, d_model)
    if part.gated:
        gate = yield from stacked(part, "gate", each, d.d_expert, chosen, d)
        up = yield from stacked(part, "up", each, d.d_expert, chosen, d)
        hidden = yield from gated(part.activation, "activation", "ffn", gate, up)
    else:
        up = yield from stacked(part, "up", each, d.d_expert, chosen, d)
        hidden = yield from activated(part.activation, "activation", "ffn", up)
    hidden = yield from dropped(hidden, here.dropout.ffn, here, "ffn", "activation")
    return (yield from stacked(part, "down", hidden, d_model, chosen, d))


def _gathered_linear(part: MoE, name: str, x: Tensor, out: Poly, chosen: Tensor, d: Symbols) -> Forward[Tensor]:
    batch, choices, into = x.axes
    yield from _weights(part, name, out, into, d)
    yield from saved(name, "ffn", chosen, x.new("weights of each choice", batch, choices, out, into), x)
    yield Matmul(name, (*x.axes, out), "ffn")
    if part.expert_bias:
        yield Saved(name, chosen, "ffn")
    return x.new(name, batch, choices, out)


def _split_linear(part: MoE, name: str, x: Tensor, out: Poly, chosen: Tensor, d: Symbols) -> Forward[Tensor]:
    batch, choices, into = x.axes
    yield from _weights(part, name, out, into, d)
    yield Saved(name, x, "ffn")
    yield Matmul(name, (*x.axes, out), "ffn")
    return x.new(name, batch, choices, out)


FORMULATIONS: dict[Experts, Callable[[MoE, Symbols, Tensor, Tensor, Pass], Forward[Tensor]]] = {
    "gather": _gathered,
    "split": _split,
}


def _weights(part: MoE, name: str, out: Poly, into: Poly, d: Symbols) -> list[Weight]:
    """One matrix of all experts, and its biases, stacked n_experts deep."""
    axes = {f"{name}.weight": (out, into)} | ({f"{name}.bias": (out,)} if part.expert_bias else {})
    return [Weight(tensor, (d.n_experts, *own), "ffn", active_axes=(d.n_active, *own)) for tensor, own in axes.items()]


def _shared(part: MoE, d: Symbols, x: Tensor, here: Pass) -> Forward[Tensor]:
    """What every token takes besides, behind a gate if there is one."""
    width = d.n_shared * d.d_shared
    activation, bias = part.shared_activation or part.activation, bool(part.shared_bias)
    made = dense(activation, width, x, here, Maps(part.gated, bias, bias))
    y = yield from under("shared.", made)
    if part.shared_gate:
        gate = yield from linear("shared_gate", x, ONE, "ffn", bias=False)
        yield from saved("shared_gate", "ffn", gate.new("sigmoid"), y)
    return x.new("mixed")
