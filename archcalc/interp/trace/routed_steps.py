"""The steps of attention by experts."""

from __future__ import annotations

from archcalc.interp.trace.expression import Call, Expression, Module, Parameter, Value, call
from archcalc.interp.trace.part_steps import PartContext, PartSteps
from archcalc.spec.routed import RoutedAttention


def routed(part: RoutedAttention, ctx: PartContext) -> PartSteps:
    """Yield the steps of an attention whose queries and outputs are projected by experts."""
    assert part.d_head is not None, "the spec is resolved"
    yield "router", "router", ctx.linear(ctx.input, "router")
    yield "chosen", "chosen", call("top", ctx.step("router"), part.n_active)
    yield "weights", "chosen", call("softmax", call("at", ctx.step("router"), ctx.step("chosen")))
    queries = call("linears", ctx.input, ctx.step("chosen"), Module(f"{ctx.weight_prefix}q"))
    yield "q", "queries", _rotated(part, call("heads", call("in_a_row", queries), part.n_heads))
    for name, kind in (("k", "keys"), ("v", "values")):
        heads = call("heads", ctx.linear(ctx.input, name), part.n_kv_heads)
        yield name, kind, _rotated(part, heads) if name == "k" else heads
    keys, values = (call("repeated", ctx.step(name), part.n_active) for name in "kv")
    scores = call("dot", ctx.step("q"), keys) * part.score_scale
    yield "scores", "scores", call("masked", scores) if ctx.is_causal else scores
    yield "pattern", "pattern", call("softmax", ctx.step("scores"))
    yield "values", "weighted_values", call("mix", ctx.step("pattern"), values)
    rows = call("pieces", call("joined", ctx.step("values")), part.n_active)
    yield "experts", "experts", call("linears", rows, ctx.step("chosen"), Module(f"{ctx.weight_prefix}out"))
    out: Expression = call("summed", ctx.step("weights"), ctx.step("experts"))
    yield "out", "attention_out", out + Parameter(f"{ctx.weight_prefix}out_bias") if part.out_bias else out


def _rotated(part: RoutedAttention, x: Call) -> Call | Value:
    if part.position is None:
        return x
    assert part.position.d_rotary is not None, "the spec is resolved"
    return call("rotated", x, part.position.d_rotary)
