"""Attention to a window of tokens and to entries that stand for several earlier tokens each."""

from __future__ import annotations

from msgspec import structs

from archcalc.ledger import norm
from archcalc.ledger.algebra import ONE, Poly
from archcalc.ledger.attention_core import CoreOptions, SparsePattern, core
from archcalc.ledger.forward_context import ForwardContext, save
from archcalc.ledger.leaves import (
    CachedTensor,
    Elementwise,
    Forward,
    Matmul,
    Save,
    State,
    Weight,
    with_prefix,
    without_gradients,
)
from archcalc.ledger.linear import linear
from archcalc.ledger.rope import rotary
from archcalc.ledger.symbols import Symbols
from archcalc.ledger.tensor import Tensor
from archcalc.ledger.tokens import BATCH
from archcalc.spec.compressed import CompressedAttention, Compression, EntryIndexer


def leaves(part: CompressedAttention, d: Symbols, x: Tensor, ctx: ForwardContext) -> Forward[Tensor]:
    """Yield the leaves of compressed attention: every score is computed, and those of hidden keys are masked."""
    queries = ctx.span.queries
    down = yield from linear("q_down", x, d.q_rank, "attention", bias=False)
    latent = yield from norm.leaves(part.norm, "q_down_norm", down, ctx)
    q = yield from linear("q_up", latent, d.n_heads * d.d_head, "attention", bias=False)
    bare = structs.replace(part.norm, weight=False, unit_offset=False)
    q = yield from norm.leaves(bare, "q_norm", q.view(BATCH, d.n_heads, queries, d.d_head), ctx)
    q = yield from _rotated(part, "q", q, d, ctx)
    kv = yield from linear("kv", x, d.d_head, "attention", bias=False)
    kv = yield from norm.leaves(part.norm, "kv_norm", kv, ctx)
    k = yield from _rotated(part, "k", kv.view(BATCH, ONE, queries, d.d_head), d, ctx)
    yield Weight("sinks", (d.n_heads,), "attention")
    if cache_tokens := ctx.span.cached(d.window):
        yield CachedTensor("keys", (cache_tokens, d.d_head))
    pattern = None
    if part.compression is not None:
        yield from _pool(part, part.compression, d.d_head, "", d, x, ctx)
        n_entries = ctx.span.entries(d.n_pool)
        k = k.new("keys and entries", BATCH, ONE, ctx.span.keys(d.window) + n_entries, d.d_head)
        pattern = yield from _pattern(part, part.compression, d, x, latent, ctx)
    options = CoreOptions(
        n_heads=d.n_heads,
        width=d.d_head,
        v_width=d.d_head,
        window=d.window,
        n_window=part.window,
        sinks=True,
        is_copy_free=part.has_one_head,
        pattern=pattern,
    )
    y = yield from core(options, q, k, k, ctx)
    y = yield from _rotated(part, "values", y.view(BATCH, d.n_heads, queries, d.d_head), d, ctx)
    return (yield from _output(d, y.new("values", BATCH, queries, d.n_heads * d.d_head)))


def _output(d: Symbols, y: Tensor) -> Forward[Tensor]:
    """Yield the leaves of the output: each group of heads by its own matrix, then all together."""
    yield Weight("out_down.weight", (d.n_out_groups * d.out_rank, d.d_out_group), "attention")
    yield Save("out_down", y, "attention")
    yield Matmul("out_down", (*y.axes[:2], d.n_out_groups, d.d_out_group, d.out_rank), "attention")
    grouped = y.new("out_down", *y.axes[:2], d.n_out_groups * d.out_rank)
    return (yield from linear("out", grouped, d.d_model, "attention", bias=False))


def _rotated(part: CompressedAttention, name: str, x: Tensor, d: Symbols, ctx: ForwardContext) -> Forward[Tensor]:
    """Yield the leaves of the rotation of the last d_rope dimensions of `x`."""
    yield from rotary(part.position, name, x.view(*x.axes[:-1], d.d_rope), d, ctx)
    return x.new(name)


def _pattern(
    part: CompressedAttention, own: Compression, d: Symbols, x: Tensor, latent: Tensor, ctx: ForwardContext
) -> Forward[SparsePattern]:
    """Yield the leaves of the selection of entries, if there is one; return which keys each query reads."""
    queries, n_entries = ctx.span.queries, ctx.span.entries(d.n_pool)
    keys = ctx.span.keys(d.window) + n_entries
    if own.indexer is None:
        key = ("compressed mask", ctx.span, part.window, own.n_pool)
        mask = ctx.position_tensor(key, lambda: Tensor("mask", (queries, keys), "bool"))
        pairs = ctx.span.entry_pairs(d.n_pool, None)
    else:
        yield from _scores(part, own, own.indexer, d, x, latent, ctx)
        mask = Tensor("mask", (BATCH, queries, keys), "bool")
        pairs = ctx.span.entry_pairs(d.n_pool, d.n_selected)
    return SparsePattern(mask=mask, pairs=ctx.span.pairs(d.window) + pairs, n_summaries=n_entries)


def _pool(
    part: CompressedAttention, own: Compression, width: Poly, prefix: str, d: Symbols, x: Tensor, ctx: ForwardContext
) -> Forward[Tensor]:
    """Yield the leaves of entries of this width, and of what a cache keeps of them; return those of this pass."""
    n_series = width + width if own.overlap else width
    yield CachedTensor(f"{prefix}entries", (ctx.span.entries(d.n_pool), width))
    for kind in ("values", "gates"):
        yield State(f"{prefix}open_{kind}", (d.n_pool - ONE, n_series))
        if own.overlap:
            yield State(f"{prefix}last_{kind}", (d.n_pool, width))
    return (yield from with_prefix(f"{prefix}pool.", _entries(part, own, width, n_series, d, x, ctx)))


def _entries(
    part: CompressedAttention, own: Compression, width: Poly, n_series: Poly, d: Symbols, x: Tensor, ctx: ForwardContext
) -> Forward[Tensor]:
    """Yield the leaves of entries; return them. With overlap, values and gates are joined again."""
    values = yield from linear("kv", x, n_series, "attention", bias=False)
    gates = yield from linear("gate", x, n_series, "attention", bias=False)
    yield Weight("positions", (d.n_pool, n_series), "attention")
    new, n_tokens = ctx.span.new_entries(d.n_pool), d.n_pool + d.n_pool if own.overlap else d.n_pool
    each = BATCH, new, n_tokens, width
    weights = gates.new("weights", *each, dtype="fp32")
    yield Elementwise("gate", each, "attention", "softmax")
    yield Save("gate", weights, "attention")
    values = values.new("values", *each) if own.overlap else values
    yield Elementwise("kv", each, "attention", "product")
    yield from save("kv", "attention", values, weights.as_dtype(x.dtype))
    pooled = yield from norm.leaves(part.norm, "norm", x.new("pooled", BATCH, new, width), ctx)
    yield Elementwise("norm", (BATCH, new, d.d_rope), "attention", "rope")
    key = ("entry angles", ctx.span, part.position, own.n_pool)
    angles = ctx.position_tensor(key, lambda: x.new("cosines and sines", new, d.d_rope))
    yield Save("norm", angles, "position")
    return pooled.new("entries")


def _scores(
    part: CompressedAttention,
    own: Compression,
    indexer: EntryIndexer,
    d: Symbols,
    x: Tensor,
    latent: Tensor,
    ctx: ForwardContext,
) -> Forward[None]:
    """Yield the leaves of the indexer: each query with every entry, by head. No gradient passes through it."""
    yield from without_gradients(_pool(part, own, d.d_index, "indexer.", d, x, ctx))
    yield from with_prefix("indexer.", without_gradients(_products(part, d, x, latent, ctx)))


def _products(part: CompressedAttention, d: Symbols, x: Tensor, latent: Tensor, ctx: ForwardContext) -> Forward[None]:
    queries, n_entries = ctx.span.queries, ctx.span.entries(d.n_pool)
    q = yield from linear("q", latent, d.n_index_heads * d.d_index, "attention", bias=False)
    yield from rotary(part.position, "q", q.view(BATCH, d.n_index_heads, queries, d.d_rope), d, ctx)
    scores = BATCH, d.n_index_heads, queries, n_entries
    pairs = ctx.span.entry_pairs(d.n_pool, None)
    yield Matmul("scores", (*scores, d.d_index), "attention", (BATCH, d.n_index_heads, pairs, d.d_index))
    yield Elementwise("scores", scores, "attention", "relu")
    yield from linear("head_weights", x, d.n_index_heads, "attention", bias=False)
