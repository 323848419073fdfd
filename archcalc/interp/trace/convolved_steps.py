"""The steps of attention with convolutions, or with projected positions."""

from __future__ import annotations

from archcalc.interp.trace.expression import Expression, Module, Parameter, call
from archcalc.interp.trace.part_steps import PartContext, PartSteps
from archcalc.spec.convolved import ConvolvedAttention
from archcalc.spec.xl import XlAttention


def convolved(part: ConvolvedAttention, ctx: PartContext) -> PartSteps:
    """Yield the steps of an attention with convolutions."""
    for name, kind in (("q", "queries"), ("k", "keys"), ("v", "values")):
        yield name, kind, call("heads", ctx.linear(ctx.input, name), part.n_heads)
    yield from _attended(part, ctx)
    heads: Expression = ctx.step("values")
    if part.d_value_conv is not None:
        yield "value_conv", "convolved_values", _convolved(ctx.step("v"), "value_conv", ctx)
        heads += ctx.step("value_conv")
    joined: Expression = call("joined", heads)
    if part.has_span:
        yield from _spans(part, ctx)
        joined = call("concat", joined, ctx.step("spans"))
    yield "out", "attention_out", ctx.linear(joined, "out")


def _attended(part: ConvolvedAttention, ctx: PartContext) -> PartSteps:
    """Yield the steps of what heads read: by a softmax of scores, or by powers of angles."""
    q, k = ctx.step("q"), ctx.step("k")
    if part.n_hashes is None:
        yield "scores", "scores", call("dot", q, k) * part.score_scale
        yield "pattern", "pattern", call("softmax", ctx.step("scores"))
        yield "values", "weighted_values", call("mix", ctx.step("pattern"), ctx.step("v"))
        return
    yield "cosines", "cosines", call("dot", call("unit", q), call("unit", k))
    yield "weights", "collisions", call("collisions", ctx.step("cosines"), part.n_hashes)
    yield "values", "weighted_values", call("unit", call("mix", ctx.step("weights"), ctx.step("v")))


def _spans(part: ConvolvedAttention, ctx: PartContext) -> PartSteps:
    """Yield the steps of heads that are convolutions."""
    around = ctx.linear(_convolved(ctx.input, "key_conv.depthwise", ctx), "key_conv.pointwise", ctx.d_model)
    yield "key_conv", "convolved_around", around + Parameter(f"{ctx.weight_prefix}key_conv.bias")
    yield "kernels", "kernels", ctx.linear(call("joined", ctx.step("q")) * ctx.step("key_conv"), "kernels")
    yield "span_v", "values", ctx.linear(ctx.input, "span_v")
    yield "spans", "spans", call("spans", ctx.step("span_v"), ctx.step("kernels"), part.n_heads)


def _convolved(x: Expression, module: str, ctx: PartContext) -> Expression:
    return call("convolved_each", x, Module(f"{ctx.weight_prefix}{module}"))


def xl(part: XlAttention, ctx: PartContext) -> PartSteps:
    """Yield the steps of an attention by projected positions."""

    def projected(x: Expression, name: str) -> Expression:
        return call("by_heads", x, Module(f"{ctx.weight_prefix}{name}"))

    def biased(name: str) -> Expression:
        return ctx.step("q") + call("each_head", Parameter(f"{ctx.weight_prefix}{name}"))

    for name, kind in (("q", "queries"), ("k", "keys"), ("v", "values")):
        yield name, kind, projected(ctx.input, name)
    bound = [] if part.max_distance is None else [part.max_distance]
    positions = projected(call("distance_sinusoids", ctx.input, *bound), "r")
    by_distance = call("at_distances", call("dot", biased("position_bias"), positions))
    scores = call("dot", biased("content_bias"), ctx.step("k")) + by_distance
    yield "scores", "scores", scores * part.score_scale
    yield "pattern", "pattern", call("softmax", ctx.step("scores"))
    yield "values", "weighted_values", call("mix", ctx.step("pattern"), ctx.step("v"))
    yield "out", "attention_out", call("from_heads", ctx.step("values"), Module(f"{ctx.weight_prefix}out"))
