"""The steps of sparse attention."""

from __future__ import annotations

from archcalc.interp.trace.expression import Expression, Module, Value, call
from archcalc.interp.trace.part_steps import PartContext, PartSteps
from archcalc.spec.sparse import BlockSummaries, RandomBlocks, SparseAttention, summary_bias


def sparse(part: SparseAttention, ctx: PartContext) -> PartSteps:
    """Yield the steps of a sparse attention."""
    yield "q", "queries", call("heads", ctx.linear(ctx.input, "q"), part.n_heads)
    yield "k", "keys", _keys(part, "k", ctx)
    yield "v", "values", _keys(part, "v", ctx)
    if part.n_global:
        first = call("first_tokens", ctx.input, part.n_global)
        for name, kind, x in (("q", "queries", first), ("k", "keys", ctx.input), ("v", "values", ctx.input)):
            name = f"global_{name}"
            yield name, kind, call("heads", ctx.linear(x, name), part.n_heads)
    scores = call("dot", ctx.step("q"), ctx.step("k")) * part.score_scale
    if isinstance(part.pattern, RandomBlocks):
        scores += Value("log_reads")
    if summary_bias(part) is not None:
        stack = ctx.step_prefix.partition("layers.")[0]
        tokens = call("rows", Module(f"{stack}relative_bias"), Value("buckets"))
        summaries = call("rows", Module(f"{stack}summary_bias"), Value("block_buckets"))
        scores += call("concat", tokens, summaries)
    if part.n_global:
        first = call("dot", ctx.step("global_q"), ctx.step("global_k")) * part.score_scale
        scores = call("with_first", scores, first, part.n_global)
    yield "scores", "scores", call("masked", scores)
    yield "pattern", "pattern", call("softmax", ctx.step("scores"))
    values = call("mix", ctx.step("pattern"), ctx.step("v"))
    if part.n_global:
        first = call("mix", ctx.step("pattern"), ctx.step("global_v"))
        values = call("with_first", values, first, part.n_global)
    yield "values", "weighted_values", values
    yield "out", "attention_out", ctx.linear(call("joined", ctx.step("values")), "out")


def _keys(part: SparseAttention, name: str, ctx: PartContext) -> Expression:
    """Return the keys or values of the tokens, and those of the summaries after them."""
    tokens = call("heads", ctx.linear(ctx.input, name), part.n_heads)
    if part.summaries is None:
        return tokens
    return call("followed", tokens, call("heads", ctx.linear(_summaries(part.summaries, ctx), name), part.n_heads))


def _summaries(part: BlockSummaries, ctx: PartContext) -> Expression:
    sums = call("block_sums", ctx.input, part.n_block)
    return sums if part.norm is None else ctx.normed(sums, "summary_norm")
