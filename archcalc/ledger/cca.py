"""Compressed convolutional attention."""

from __future__ import annotations

from archcalc.ledger import norm
from archcalc.ledger.algebra import ONE, Poly
from archcalc.ledger.attention_core import CoreOptions, core
from archcalc.ledger.forward_context import ForwardContext
from archcalc.ledger.leaves import CachedTensor, Elementwise, Forward, Matmul, Save, State, Weight
from archcalc.ledger.linear import linear
from archcalc.ledger.rope import rotary
from archcalc.ledger.symbols import Symbols
from archcalc.ledger.tensor import Tensor
from archcalc.ledger.tokens import BATCH, FIRST_PASS
from archcalc.spec.cca import ConvolutionalAttention


def leaves(part: ConvolutionalAttention, d: Symbols, x: Tensor, ctx: ForwardContext) -> Forward[Tensor]:
    """Yield the leaves of an attention whose queries and keys are convolved."""
    span, width = ctx.span, d.n_kv_heads * d.d_head
    yield from linear("q", x, d.n_heads * d.d_head, "attention", bias=part.bias)
    yield from linear("k", x, width, "attention", bias=part.bias)
    yield from _convolutions(d, x)
    q = yield from _heads(part, "q", d.n_heads, d, x, ctx)
    k = yield from _heads(part, "k", d.n_kv_heads, d, x, ctx)
    yield from linear("v", x, width - d.d_before, "attention", bias=part.bias)
    yield from _values_before(part, d, x)
    v = x.new("v", BATCH, d.n_kv_heads, span.queries, d.d_head)
    window = d.window if part.window else None
    if cache_tokens := span.cached(window):
        for name in ("keys", "values"):
            yield CachedTensor(name, (d.n_kv_heads, cache_tokens, d.d_head))
    options = CoreOptions(
        n_heads=d.n_heads,
        has_one_head=part.has_one_head,
        width=d.d_head,
        v_width=d.d_head,
        window=window,
        n_window=part.window,
    )
    y = yield from core(options, q, k, v, ctx)
    return (yield from linear("out", y, d.d_model, "attention", bias=part.out_bias))


def _convolutions(d: Symbols, x: Tensor) -> Forward[None]:
    """Yield the leaves of both convolutions. The first computes what the second reads before the tokens too."""
    batch, tokens, _ = x.axes
    channels = (d.n_heads + d.n_kv_heads) * d.d_head
    before = d.d_group_conv - ONE
    columns = d.d_conv - ONE + before
    name = "qk_conv.depthwise"
    yield Weight(f"{name}.weight", (channels, ONE, d.d_conv), "attention", convolves=True)
    yield Weight(f"{name}.bias", (channels,), "attention")
    yield Save(name, x.new("queries and keys", batch, channels, tokens + columns), "attention")
    yield Matmul(name, (batch, tokens + before, channels, d.d_conv), "attention")
    yield State("qk_columns", (channels, columns))
    name = "qk_conv.grouped"
    yield Weight(f"{name}.weight", (channels, d.d_head, d.d_group_conv), "attention", convolves=True)
    yield Weight(f"{name}.bias", (channels,), "attention")
    yield Save(name, x.new("depthwise", batch, channels, tokens + before), "attention")
    yield Matmul(name, (batch, tokens, d.d_head * d.d_group_conv, channels), "attention")


def _heads(
    part: ConvolutionalAttention, name: str, n_heads: Poly, d: Symbols, x: Tensor, ctx: ForwardContext
) -> Forward[Tensor]:
    """Yield the leaves of queries or keys after the sum with the means: norm, learned number, rotation."""
    y = x.new("sum", BATCH, n_heads, x.axes[1], d.d_head)
    y = yield from norm.leaves(part.norm, f"{name}_norm", y, ctx)
    if name == "k":
        yield Weight("temperature", (n_heads,), "attention")
        yield Elementwise("temperature", y.axes, "attention", "product")
        yield Save("temperature", y, "attention")
        y = y.new("k")
    return y if part.position is None else (yield from rotary(part.position, name, y, d, ctx))


def _values_before(part: ConvolutionalAttention, d: Symbols, x: Tensor) -> Forward[None]:
    """Yield the leaves of values that are projected from the token before; where a text begins, from zeros."""
    yield from linear("v_before", x, d.d_before, "attention", bias=part.bias)
    yield Save("v_before", x.new("before the text", BATCH, ONE, d.d_model), "attention")
    yield Matmul("v_before", (BATCH, FIRST_PASS, d.d_model, d.d_before), "attention", backward=1)
    yield State("value_before", (d.d_before,))
