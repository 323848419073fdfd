"""Attention of an encoder by relative positions that are projected in every layer."""

from __future__ import annotations

from archcalc.ledger.algebra import Poly
from archcalc.ledger.forward_context import ForwardContext, dropout, save
from archcalc.ledger.leaves import Elementwise, Forward, Matmul, Save, Weight
from archcalc.ledger.symbols import Symbols
from archcalc.ledger.tensor import Tensor
from archcalc.ledger.tokens import BATCH
from archcalc.spec.xl import XlAttention


def leaves(part: XlAttention, d: Symbols, x: Tensor, ctx: ForwardContext) -> Forward[Tensor]:
    """Yield the leaves of contents, of the distances that a text has, and of their two scores."""
    q = yield from _heads("q", x, d)
    k = yield from _heads("k", x, d)
    v = yield from _heads("v", x, d)
    rows = ctx.span.queries * 2
    places = ctx.position_tensor(
        ("distances", ctx.span, part.max_distance), lambda: x.new("distances", BATCH, rows, d.d_model)
    )
    r = yield from _heads("r", places, d, backward=1)  # no gradient reaches sinusoids
    for name in ("content_bias", "position_bias", "segment_bias"):
        yield Weight(name, (d.n_heads, d.d_head), "attention")
    yield Weight("segments", (Poly.constant(2), d.n_heads, d.d_head), "attention")
    yield from save("scores", "attention", q.new("q + u"), k)
    scores, pairs = (BATCH, d.n_heads, ctx.span.queries, ctx.span.keys(None)), ctx.span.pairs(None)
    yield Matmul("scores", (*scores, d.d_head), "attention", (BATCH, d.n_heads, pairs, d.d_head))
    yield from save("place_scores", "attention", q.new("q + v"), r)
    yield Matmul("place_scores", (BATCH, d.n_heads, ctx.span.queries, rows, d.d_head), "attention")
    pattern = Tensor("pattern", scores, "fp32")
    yield Elementwise("softmax", scores, "attention", "softmax")
    yield Save("softmax", pattern, "attention")
    weights = pattern.as_dtype(ctx.execution.dtype)
    weights = yield from dropout(weights, ctx.dropout.attention, ctx, "attention", "softmax")
    yield from save("values", "attention", weights, v)
    yield Matmul("values", (*scores, d.d_head), "attention", (BATCH, d.n_heads, pairs, d.d_head))
    y = q.new("attended", BATCH, x.axes[1], d.n_heads * d.d_head)
    yield Weight("out.weight", (d.d_model, d.n_heads, d.d_head), "attention", convolves=True)
    yield Save("out", y, "attention")
    yield Matmul("out", (*y.axes, d.d_model), "attention")
    return x.new("out")


def _heads(name: str, x: Tensor, d: Symbols, backward: int = 2) -> Forward[Tensor]:
    """Yield the leaves of a matrix for each head, which is no Linear; return the heads."""
    yield Weight(f"{name}.weight", (d.d_model, d.n_heads, d.d_head), "attention", convolves=True)
    yield Save(name, x, "attention")
    yield Matmul(name, (*x.axes, d.n_heads * d.d_head), "attention", backward=backward)
    return x.new(name, BATCH, d.n_heads, x.axes[1], d.d_head)
