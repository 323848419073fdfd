"""Differential attention: two patterns for each pair of heads, and their difference."""

from __future__ import annotations

from msgspec import structs

from archcalc.ledger import norm
from archcalc.ledger.algebra import ONE
from archcalc.ledger.attention_core import CoreOptions, attended, per_query_head, per_query_head_axes, with_prompts
from archcalc.ledger.forward_context import ForwardContext, save
from archcalc.ledger.leaves import Elementwise, Forward, Save, Weight, with_prefix
from archcalc.ledger.symbols import Symbols
from archcalc.ledger.tensor import Tensor
from archcalc.spec.attention import Differential

VECTORS = ("lambda_q1", "lambda_k1", "lambda_q2", "lambda_k2")


def differences(
    part: Differential, d: Symbols, options: CoreOptions, heads: tuple[Tensor, Tensor, Tensor], ctx: ForwardContext
) -> Forward[Tensor]:
    """Yield the leaves of the kernel, once for each half of the values, and of the subtraction.

    Return [BATCH, queries, n_heads · v_width]. The differences are n_pairs of twice that width.
    """
    q, k, v = heads
    for vector in VECTORS:
        yield Weight(f"differences.{vector}", (d.d_head,), "attention")
    k, v = with_prompts(k, v, ctx)
    k = per_query_head(k, options, options.width, ctx)
    whole = structs.replace(options, is_copy_free=True)
    y = yield from attended(whole, q, k, _half(options, v), ctx)
    yield from with_prefix("second_half_", attended(whole, q, k, _half(options, v), ctx))
    joined = y.new("both halves", *y.axes, ONE + ONE)
    for exponential in ("exp(q1 · k1)", "exp(q2 · k2)"):
        yield Save("differences", Tensor(exponential, (), "fp32"), "attention")
    yield from save("differences", "attention", joined, Tensor("λ", (), y.dtype))
    yield Elementwise("differences", y.axes, "attention", "product")
    pairs = y.new("differences", *y.axes[:2], d.n_pairs, options.v_width + options.v_width)
    normed = yield from norm.leaves(part.norm, "differences.norm", pairs, ctx)
    yield Elementwise("differences.norm", y.axes, "attention", "product")
    return normed.new("differences", *y.axes)


def _half(options: CoreOptions, v: Tensor) -> Tensor:
    """Return half of the values, a copy for each query head."""
    return v.new("half of the values", *per_query_head_axes(options, options.v_width, v))
