"""Attention of an encoder with convolutions over the tokens beside it."""

from __future__ import annotations

from archcalc.ledger.algebra import ONE
from archcalc.ledger.attention_core import CoreOptions, core
from archcalc.ledger.forward_context import ForwardContext, save
from archcalc.ledger.leaves import Elementwise, Forward, Matmul, Save, Weight, with_prefix
from archcalc.ledger.linear import linear
from archcalc.ledger.symbols import Symbols
from archcalc.ledger.tensor import Tensor
from archcalc.ledger.tokens import BATCH
from archcalc.spec.convolved import ConvolvedAttention


def leaves(part: ConvolvedAttention, d: Symbols, x: Tensor, ctx: ForwardContext) -> Forward[Tensor]:
    """Yield the leaves of the heads that attend, of those that are convolutions, and of the output."""
    q = yield from _heads("q", x, d, bias=part.q_bias)
    k = yield from _heads("k", x, d, bias=part.k_bias)
    v = yield from _heads("v", x, d, bias=part.v_bias)
    if part.n_hashes is None:
        options = CoreOptions(n_heads=d.n_heads, width=d.d_head, v_width=d.d_head, is_copy_free=True, is_eager=True)
        y = yield from core(options, q, k, v, ctx)
    else:
        y = yield from _collisions(d, q, k, v, ctx)
    if part.d_value_conv is not None:
        yield Weight("value_conv.weight", (d.n_heads, ONE, d.d_value_conv), "attention", convolves=True)
        yield Save("value_conv", v, "attention")
        yield Matmul("value_conv", (*v.axes, d.d_value_conv), "attention")
        y = y.new("attended and convolved")
    if part.has_span:
        yield from _spans(d, x, q, ctx)
        y = y.new("all heads", BATCH, x.axes[1], d.n_heads * d.d_head * 2)
    return (yield from linear("out", y, d.d_model, "attention", bias=part.out_bias))


def _heads(name: str, x: Tensor, d: Symbols, *, bias: bool) -> Forward[Tensor]:
    """Yield the leaves of projected queries, keys or values; return them as heads, laid out by head."""
    flat = yield from linear(name, x, d.n_heads * d.d_head, "attention", bias=bias)
    return flat.new(name, BATCH, d.n_heads, x.axes[1], d.d_head)


def _collisions(d: Symbols, q: Tensor, k: Tensor, v: Tensor, ctx: ForwardContext) -> Forward[Tensor]:
    """Yield the leaves of cosines, of their powers, which are computed in float32, and of what is read."""
    q = yield from _unit("q", q)
    k = yield from _unit("k", k)
    pairs = BATCH, d.n_heads, ctx.span.pairs(None)
    scores = BATCH, d.n_heads, ctx.span.queries, ctx.span.keys(None)
    yield from save("scores", "attention", q, k)
    yield Matmul("scores", (*scores, d.d_head), "attention", (*pairs, d.d_head))
    cosines = q.new("cosines", *scores).as_dtype("fp32")
    yield Elementwise("weights", scores, "attention", "softmax")
    yield from save("weights", "attention", cosines, cosines.new("clamped"), cosines.new("1 − angle / π"))
    weights = cosines.new("weights").as_dtype(ctx.execution.dtype)
    yield from save("values", "attention", weights, v)
    yield Matmul("values", (*scores, d.d_head), "attention", (*pairs, d.d_head))
    y = yield from _unit("values", v.new("read"))
    return y.new("attended", BATCH, ctx.span.queries, d.n_heads * d.d_head)


def _unit(name: str, x: Tensor) -> Forward[Tensor]:
    """Yield the leaves of vectors scaled to length 1."""
    *before, _ = x.axes
    lengths = x.new("lengths", *before, ONE)
    yield Elementwise(name, x.axes, "attention", "rmsnorm")
    yield from save(name, "attention", x, lengths, lengths.new("lengths from 0"))
    return x.new(f"{x.label} of length 1")


def _spans(d: Symbols, x: Tensor, q: Tensor, ctx: ForwardContext) -> Forward[None]:
    """Yield the leaves of heads that are convolutions, whose kernels follow from the tokens."""
    inner = d.n_heads * d.d_head
    around = yield from with_prefix("key_conv.", _separable(d, x))
    yield from save("kernels", "attention", q, around)
    yield Elementwise("kernels", around.axes, "attention", "product")
    kernels = yield from linear("kernels", around.new("product"), d.n_heads * d.d_span_conv, "attention", bias=True)
    softmax = kernels.new("softmax of the kernels").as_dtype("fp32")
    yield Elementwise("kernels", kernels.axes, "attention", "softmax")
    yield Save("kernels", softmax, "attention")
    values = yield from linear("span_v", x, inner, "attention", bias=True)
    windows = values.new("windows", *x.axes[:-1], inner, d.d_span_conv)
    yield from save("spans", "attention", windows, softmax.as_dtype(ctx.execution.dtype))
    yield Matmul("spans", windows.axes, "attention")


def _separable(d: Symbols, x: Tensor) -> Forward[Tensor]:
    """Yield the leaves of a convolution of each channel, then a projection with a bias of its own."""
    yield Weight("depthwise.weight", (d.d_model, ONE, d.d_span_conv), "attention", convolves=True)
    yield Save("depthwise", x, "attention")
    yield Matmul("depthwise", (*x.axes, d.d_span_conv), "attention")
    y, inner = x.new("depthwise"), d.n_heads * d.d_head
    projected = yield from linear("pointwise", y, inner, "attention", bias=False, block=d.d_model)
    yield Weight("bias", (d.n_heads * d.d_head,), "attention")
    return projected.new("key_conv")
