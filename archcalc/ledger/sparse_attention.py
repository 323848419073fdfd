"""Attention of an encoder whose queries read some of the keys."""

from __future__ import annotations

from archcalc.ledger import norm
from archcalc.ledger.algebra import Poly
from archcalc.ledger.attention_core import CoreOptions, GlobalTensors, SparsePattern, core
from archcalc.ledger.forward_context import ForwardContext
from archcalc.ledger.leaves import Forward, Matmul, Save, Weight
from archcalc.ledger.linear import linear
from archcalc.ledger.symbols import Symbols
from archcalc.ledger.tensor import Tensor
from archcalc.ledger.tokens import BATCH
from archcalc.spec.position import RelativeBias
from archcalc.spec.sparse import (
    BlockSummaries,
    GlobalWindow,
    LocalBlocks,
    RandomBlocks,
    SparseAttention,
    summary_bias,
)


def leaves(part: SparseAttention, d: Symbols, x: Tensor, ctx: ForwardContext) -> Forward[Tensor]:
    """Yield the leaves of a sparse attention: every score is computed, and those outside the pattern are masked."""
    q = yield from _heads("q", x, d, bias=part.q_bias)
    k = yield from _heads("k", x, d, bias=part.k_bias)
    v = yield from _heads("v", x, d, bias=part.v_bias)
    if part.summaries is not None:
        k, v = yield from _with_summaries(part.summaries, d, x, k, ctx)
    rows = (yield from _global_tensors(part, d, x, ctx)) if isinstance(part.pattern, GlobalWindow) else None
    options = CoreOptions(
        n_heads=d.n_heads,
        width=d.d_head,
        v_width=d.d_head,
        bias=RelativeBias if summary_bias(part) else None,
        pattern=SparsePattern(
            mask=ctx.position_tensor(
                (ctx.span, part.pattern.mask_key), lambda: x.new("mask", x.axes[1], k.axes[2], dtype="bool")
            ),
            pairs=_pairs(part, d, ctx),
            n_summaries=ctx.span.blocks(d.n_block) if part.summaries else None,
            global_tensors=rows,
        ),
    )
    y = yield from core(options, q, k, v, ctx)
    return (yield from linear("out", y, d.d_model, "attention", bias=part.out_bias))


def _heads(name: str, x: Tensor, d: Symbols, *, bias: bool) -> Forward[Tensor]:
    """Yield the leaves of projected queries, keys or values; return them as heads."""
    y = yield from linear(name, x, d.n_heads * d.d_head, "attention", bias=bias)
    return y.view(BATCH, d.n_heads, x.axes[1], d.d_head)


def _pairs(part: SparseAttention, d: Symbols, ctx: ForwardContext) -> Poly:
    """Return the attended pairs, less those of global tokens as queries."""
    span, pattern = ctx.span, part.pattern
    if isinstance(pattern, RandomBlocks):
        return span.block_pairs(d.n_block, d.n_random)
    if isinstance(pattern, LocalBlocks):
        return span.local_pairs(d.n_block, is_staggered=pattern.staggered)
    if isinstance(pattern, BlockSummaries):
        return span.pairs(d.window) + span.queries * span.blocks(d.n_block)
    return span.later_pairs(d.window, d.n_global) if pattern.n_global else span.pairs(d.window)


def _with_summaries(
    part: BlockSummaries, d: Symbols, x: Tensor, k: Tensor, ctx: ForwardContext
) -> Forward[tuple[Tensor, Tensor]]:
    """Yield the leaves of the sum of each block's states, a product with 0 and 1; return all keys and values."""
    tokens, n_blocks = x.axes[1], ctx.span.blocks(d.n_block)
    key = "blocks", ctx.span, part.n_block
    members = ctx.position_tensor(key, lambda: x.new("tokens of the blocks", n_blocks, tokens))
    yield Save("summaries", members, "attention")
    yield Matmul("summaries", (BATCH, n_blocks, tokens, d.d_model), "attention", backward=1)
    sums = x.new("sums of the blocks", BATCH, n_blocks, d.d_model)
    summaries = yield from norm.leaves(part.norm, "summary_norm", sums, ctx)
    for name in "kv":
        yield Save(name, summaries, "attention")
        yield Matmul(name, (*summaries.axes, d.n_heads * d.d_head), "attention")
    axes = BATCH, d.n_heads, tokens + n_blocks, d.d_head
    return k.new("keys", *axes), k.new("values", *axes)


def _global_tensors(part: SparseAttention, d: Symbols, x: Tensor, ctx: ForwardContext) -> Forward[GlobalTensors | None]:
    """Yield the leaves of the projections of global tokens; without such tokens they are stored and never used."""
    width = d.n_heads * d.d_head
    if not part.n_global:
        for name, bias in (("q", part.q_bias), ("k", part.k_bias), ("v", part.v_bias)):
            yield Weight(f"global_{name}.weight", (width, d.d_model), "attention")
            if bias:
                yield Weight(f"global_{name}.bias", (width,), "attention")
        return None
    first = x.new("global states", BATCH, ctx.span.first(d.n_global), d.d_model)
    q = yield from _heads("global_q", first, d, bias=part.q_bias)
    k = yield from _heads("global_k", x, d, bias=part.k_bias)
    v = yield from _heads("global_v", x, d, bias=part.v_bias)
    return GlobalTensors(q, k, v)
