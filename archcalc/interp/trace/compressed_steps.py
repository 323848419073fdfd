"""The steps of compressed attention."""

from __future__ import annotations

from archcalc.interp.trace.expression import Expression, Module, Parameter, call
from archcalc.interp.trace.part_steps import PartContext, PartSteps, learned_sinks, softmaxed
from archcalc.spec.compressed import CompressedAttention, Compression, EntryIndexer


def compressed(part: CompressedAttention, ctx: PartContext) -> PartSteps:
    """Yield the steps of attention to a window of tokens and to entries."""
    own = part.compression
    latent = ctx.normed(ctx.linear(ctx.input, "q_down"), "q_down_norm")
    queries = call("over_rms", call("heads", ctx.linear(latent, "q_up"), part.n_heads), part.norm.eps)
    yield "q", "queries", _turned(part, part.d_head, queries)
    keys: Expression = call("heads", ctx.normed(ctx.linear(ctx.input, "kv"), "kv_norm"), 1)
    keys = _turned(part, part.d_head, keys)
    if own is not None:
        yield "entries", "entries", _entries(part, own, part.d_head, "pool", ctx)
        keys = call("followed", keys, call("heads", ctx.step("entries"), 1))
    yield "k", "keys", keys
    scores: Expression = call("dot", ctx.step("q"), ctx.step("k")) * part.score_scale
    if own is not None and own.indexer is not None:
        yield from _indexed(part, own, own.indexer, latent, ctx)
        chosen = call("top", ctx.step("index_scores"), own.indexer.n_selected)
        scores = call("selected_entries", scores, chosen)
    yield from softmaxed(scores, ctx, ctx.step("k"), is_masked=True, sinks=learned_sinks(ctx))
    heads = _turned(part, part.d_head, ctx.step("values"), function="turned_back")
    groups = call("linear_by_group", call("joined", heads), Module(f"{ctx.weight_prefix}out_down"), part.n_out_groups)
    yield "out", "attention_out", ctx.linear(groups, "out")


def _turned(
    part: CompressedAttention, width: int, x: Expression, function: str = "rotated", *more: float
) -> Expression:
    """Return `x` with its last dimensions rotated."""
    rotated = call(function, call("last", x, part.d_rope), part.d_rope, *more)
    return rotated if width == part.d_rope else call("concat", call("first", x, width - part.d_rope), rotated)


def _entries(part: CompressedAttention, own: Compression, width: int, module: str, ctx: PartContext) -> Expression:
    """Return entries: values, weighed by gates, normed and rotated."""
    values, gates = (ctx.linear(ctx.input, f"{module}.{name}") for name in ("kv", "gate"))
    positions = Parameter(f"{ctx.weight_prefix}{module}.positions")
    pooled = call("overlapped" if own.overlap else "pooled", values, gates, positions)
    return _turned(part, width, ctx.normed(pooled, f"{module}.norm"), "rotated_at", own.n_pool)


def _indexed(
    part: CompressedAttention, own: Compression, indexer: EntryIndexer, latent: Expression, ctx: PartContext
) -> PartSteps:
    """Yield the steps of an indexer of entries."""
    queries = call("heads", ctx.linear(latent, "indexer.q"), indexer.n_index_heads)
    yield "index_q", "queries", _turned(part, indexer.d_index, queries)
    yield "index_entries", "entries", _entries(part, own, indexer.d_index, "indexer.pool", ctx)
    dots = call("relu", call("dot", ctx.step("index_q"), call("heads", ctx.step("index_entries"), 1)))
    weights = ctx.linear(ctx.input, "indexer.head_weights") * indexer.n_index_heads**-0.5
    scores = call("over_heads", dots * indexer.d_index**-0.5, weights)
    yield "index_scores", "index_scores", call("masked_entries", scores, own.n_pool)
