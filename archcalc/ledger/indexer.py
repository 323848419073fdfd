"""Indexers: small attentions that select the keys of each query, without gradients."""

from __future__ import annotations

from archcalc.ledger import norm
from archcalc.ledger.forward_context import ForwardContext
from archcalc.ledger.leaves import CachedTensor, Elementwise, Forward, Matmul, with_prefix, without_gradients
from archcalc.ledger.linear import linear
from archcalc.ledger.rope import rotary
from archcalc.ledger.symbols import Symbols
from archcalc.ledger.tensor import Tensor
from archcalc.ledger.tokens import BATCH
from archcalc.spec.attention import Indexer, LatentAttention


def selection(
    part: LatentAttention, d: Symbols, x: Tensor, latent: Tensor, ctx: ForwardContext
) -> Forward[Tensor | None]:
    """Yield the leaves of the indexer, if the layer has its own; return the mask of keys that are not selected.

    `latent` is that of the queries. Later layers may read the mask.
    """
    if part.indexer is None:
        return None
    if not isinstance(part.indexer, Indexer):
        (mask,) = ctx.lent_in[ctx.arm]
        return mask
    yield from with_prefix("indexer.", without_gradients(_scores(part, part.indexer, d, x, latent, ctx)))
    if cache_tokens := ctx.span.cached(None):
        yield CachedTensor("index_key", (cache_tokens, d.d_index))
    mask = Tensor("selection", (BATCH, ctx.span.queries, ctx.span.keys(None)), "bool")
    if ctx.arm in ctx.lent_out:
        ctx.lent_out[ctx.arm] = (mask,)
    return mask


def _scores(
    part: LatentAttention, indexer: Indexer, d: Symbols, x: Tensor, latent: Tensor, ctx: ForwardContext
) -> Forward[None]:
    """Yield the leaves of the scores: each query with every key, by head, and their weighted sum."""
    queries, keys, pairs = ctx.span.queries, ctx.span.keys(None), ctx.span.pairs(None)
    q = yield from linear("q", latent, d.n_index_heads * d.d_index, "attention", bias=False)
    assert part.position is not None, "the spec is resolved"
    yield from rotary(part.position, "q", q.view(BATCH, d.n_index_heads, queries, d.d_rope), d, ctx)
    k = yield from linear("k", x, d.d_index, "attention", bias=False)
    k = yield from norm.leaves(indexer.norm, "k_norm", k, ctx)
    yield from rotary(part.position, "k", k.view(BATCH, queries, d.d_rope), d, ctx)
    scores = (BATCH, d.n_index_heads, queries, keys)
    yield Matmul("scores", (*scores, d.d_index), "attention", (BATCH, d.n_index_heads, pairs, d.d_index))
    yield Elementwise("scores", scores, "attention", "relu")
    yield from linear("head_weights", x, d.n_index_heads, "attention", bias=False)
    yield Matmul("sum", (BATCH, queries, keys, d.n_index_heads), "attention", (BATCH, pairs, d.n_index_heads))
