"""The steps of compressed convolutional attention."""

from __future__ import annotations

from archcalc.interp.trace.expression import Call, Expression, Module, Parameter, call
from archcalc.interp.trace.part_steps import PartContext, PartSteps, softmaxed
from archcalc.spec.cca import ConvolutionalAttention


def convolutional(part: ConvolutionalAttention, ctx: PartContext) -> PartSteps:
    """Yield the steps of an attention whose queries and keys are convolved."""
    assert part.n_kv_heads is not None and part.d_head is not None, "the spec is resolved"  # noqa: PT018
    q, k = (ctx.linear(ctx.input, name) for name in "qk")
    yield "qk_conv", "convolved", call("convolved_heads", call("concat", q, k), Module(f"{ctx.weight_prefix}qk_conv"))
    n_each = part.n_heads // part.n_kv_heads
    keys = call("each_repeated", call("heads", k, part.n_kv_heads), n_each)
    mean = (call("heads", q, part.n_heads) + keys) * 0.5
    yield "q", "queries", _rotated(part, ctx.normed(_convolved(part, ctx, "first", part.n_heads) + mean, "q_norm"))
    key_mean = call("head_means", mean, n_each)
    normed = ctx.normed(_convolved(part, ctx, "last", part.n_kv_heads) + key_mean, "k_norm")
    yield "k", "keys", _rotated(part, normed * call("by_head", Parameter(f"{ctx.weight_prefix}temperature")))
    before = ctx.linear(call("shifted", ctx.input), "v_before")
    yield "v", "values", call("heads", call("concat", ctx.linear(ctx.input, "v"), before), part.n_kv_heads)
    scores = call("dot", ctx.step("q"), ctx.step("k")) * part.score_scale
    yield from softmaxed(scores, ctx, ctx.step("v"), is_masked=True)
    yield "out", "attention_out", ctx.linear(call("joined", ctx.step("values")), "out")


def _convolved(part: ConvolutionalAttention, ctx: PartContext, which: str, n_heads: int) -> Call:
    """Return the heads of the convolved queries, which are first, or keys."""
    assert part.d_head is not None, "the spec is resolved"
    return call("heads", call(which, ctx.step("qk_conv"), n_heads * part.d_head), n_heads)


def _rotated(part: ConvolutionalAttention, x: Expression) -> Expression:
    if part.position is None:
        return x
    assert part.position.d_rotary is not None, "the spec is resolved"
    return call("rotated", x, part.position.d_rotary)
