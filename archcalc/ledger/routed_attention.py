"""Attention whose queries and outputs are projected by experts."""

from __future__ import annotations

from collections.abc import Callable

from archcalc.ledger.algebra import Poly
from archcalc.ledger.attention_core import CoreOptions, core, per_query_head_axes
from archcalc.ledger.forward_context import ForwardContext, save
from archcalc.ledger.leaves import CachedTensor, Elementwise, Forward, Matmul, Save, Weight
from archcalc.ledger.linear import linear
from archcalc.ledger.rope import rotary
from archcalc.ledger.symbols import Symbols
from archcalc.ledger.tensor import Tensor
from archcalc.ledger.tokens import BATCH
from archcalc.spec.execution import Experts
from archcalc.spec.routed import RoutedAttention

# A projection of each choice by its expert: (name, input, output width, experts of the choices, symbols).
Projection = Callable[[str, Tensor, Poly, Tensor, Symbols], Forward[Tensor]]


def leaves(part: RoutedAttention, d: Symbols, x: Tensor, ctx: ForwardContext) -> Forward[Tensor]:
    """Yield the leaves of an attention by experts."""
    span, width = ctx.span, d.n_kv_heads * d.d_head
    n_heads, project = d.n_active * d.n_kv_heads, PROJECTIONS[ctx.execution.experts]
    chosen, weights = yield from _choice(d, x)
    if ctx.execution.experts == "split":
        for index in ("sorted by expert", "token of each choice", "back in order"):
            yield Save("split", chosen.new(index), "attention")
    choices = x.new("states of each choice", BATCH, span.queries * d.n_active, d.d_model)
    flat = yield from project("q", choices, width, chosen, d)
    q = flat.new("queries", BATCH, n_heads, span.queries, d.d_head)
    k = yield from linear("k", x, width, "attention", bias=False)
    v = yield from linear("v", x, width, "attention", bias=False)
    k, v = (each.view(BATCH, d.n_kv_heads, span.queries, d.d_head) for each in (k, v))
    if part.position:
        q = yield from rotary(part.position, "q", q, d, ctx)
        k = yield from rotary(part.position, "k", k, d, ctx)
    if cache_tokens := span.cached(None):
        for name in ("keys", "values"):
            yield CachedTensor(name, (d.n_kv_heads, cache_tokens, d.d_head))
    options = CoreOptions(n_heads=n_heads, width=d.d_head, v_width=d.d_head, is_copy_free=True)
    k, v = (each.new(f"{each.label} of each head", *per_query_head_axes(options, d.d_head, each)) for each in (k, v))
    y = yield from core(options, q, k, v, ctx)
    each = y.view(BATCH, span.queries * d.n_active, width)
    if ctx.execution.experts == "split":
        each = y.new("sorted by expert", *each.axes)
    outputs = yield from project("out", each, d.d_model, chosen, d)
    yield from save("weighted", "attention", outputs, weights.as_dtype(x.dtype))
    if part.out_bias:
        yield Weight("out_bias", (d.d_model,), "attention")
    return x.new("out")


def _choice(d: Symbols, x: Tensor) -> Forward[tuple[Tensor, Tensor]]:
    """Yield the leaves of the router; return the chosen experts and their weights, in float32."""
    logits = (yield from linear("router", x, d.n_experts, "attention", bias=False)).new("logits", dtype="fp32")
    chosen = x.new("chosen experts", *x.axes[:2], d.n_active, dtype="int64")
    weights = chosen.new("shares", dtype="fp32")
    yield Elementwise("router", chosen.axes, "attention", "softmax")
    yield from save("router", "attention", logits, chosen, weights)
    return chosen, weights


def _gathered(name: str, x: Tensor, out: Poly, chosen: Tensor, d: Symbols) -> Forward[Tensor]:
    """Gather a copy of the expert's matrix for each choice."""
    batch, choices, into = x.axes
    yield _weight(name, out, into, d)
    yield from save(name, "attention", chosen, x.new("weights of each choice", batch, choices, out, into), x)
    yield Matmul(name, (*x.axes, out), "attention")
    return x.new(name, batch, choices, out)


def _split(name: str, x: Tensor, out: Poly, chosen: Tensor, d: Symbols) -> Forward[Tensor]:
    """Multiply each expert's choices, which are sorted, with its matrix."""
    yield _weight(name, out, x.axes[-1], d)
    yield Save(name, x, "attention")
    yield Matmul(name, (*x.axes, out), "attention")
    return x.new(name, *x.axes[:2], out)


def _weight(name: str, out: Poly, into: Poly, d: Symbols) -> Weight:
    return Weight(f"{name}.weight", (d.n_experts, out, into), "attention", active_axes=(d.n_active, out, into))


PROJECTIONS: dict[Experts, Projection] = {"gather": _gathered, "split": _split}
