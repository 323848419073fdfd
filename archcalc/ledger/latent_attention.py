"""Multi-head latent attention."""

from __future__ import annotations

from archcalc.ledger import norm
from archcalc.ledger.attention_core import CoreOptions, core
from archcalc.ledger.forward_context import ForwardContext
from archcalc.ledger.indexer import selection
from archcalc.ledger.leaves import CachedTensor, Elementwise, Forward, Weight
from archcalc.ledger.linear import linear
from archcalc.ledger.output_gate import output_gate
from archcalc.ledger.rope import rotary
from archcalc.ledger.symbols import Symbols
from archcalc.ledger.tensor import Tensor
from archcalc.ledger.tokens import BATCH
from archcalc.spec.attention import LatentAttention


def leaves(part: LatentAttention, d: Symbols, x: Tensor, ctx: ForwardContext) -> Forward[Tensor]:
    """Yield the leaves of latent attention.

    The cache holds the latents, so kv_up recomputes the keys and values of all tokens.
    """
    window = d.window if part.window else None
    new, key_tokens, width = ctx.span.queries, ctx.span.key_value_tokens(window), d.d_nope + d.d_rope
    q_latent, q_input = yield from _query_inputs(part, d, x, ctx)
    name = "q" if part.q_rank is None else "q_up"
    q = yield from linear(name, q_input, d.n_heads * width, "attention", bias=False)
    if part.position:
        yield from rotary(part.position, "q", q.view(BATCH, d.n_heads, new, d.d_rope), d, ctx)
    down = yield from linear("kv_down", x, d.kv_rank + d.d_rope, "attention", bias=part.down_bias)
    key = yield from norm.leaves(part.key_norm, "key_norm", down.view(BATCH, new, d.d_rope), ctx)
    if part.position:
        yield from rotary(part.position, "k", key, d, ctx)
    latent = yield from _latent(part, "kv_down_norm", down.view(BATCH, new, d.kv_rank), ctx)
    if cache_tokens := ctx.span.cached(window):
        yield CachedTensor("latent", (cache_tokens, d.kv_rank))
        yield CachedTensor("rotary_key", (cache_tokens, d.d_rope))
    read = latent.view(BATCH, key_tokens, d.kv_rank)
    selected = yield from selection(part, d, x, q_latent, ctx)
    up = yield from linear("kv_up", read, d.n_heads * (d.d_nope + d.d_v), "attention", bias=False)
    if part.sinks:
        yield Weight("sinks", (d.n_heads,), "attention")
    y = yield from core(
        CoreOptions(
            n_heads=d.n_heads,
            width=width,
            v_width=d.d_v,
            has_own_value_width=True,
            sinks=part.sinks,
            window=window,
            n_window=part.window,
            n_selected=d.n_selected if part.indexer else None,
            selection=selected,
        ),
        q.new("queries", BATCH, d.n_heads, new, width),
        up.new("keys", BATCH, d.n_heads, key_tokens, width),
        up.new("values", BATCH, d.n_heads, key_tokens, d.d_v),
        ctx,
    )
    if part.gate:
        y = yield from output_gate(part.gate, d, d.d_v, q_input if part.raw_latent else x, y)
    return (yield from linear("out", y, d.d_model, "attention", bias=part.out_bias))


def _query_inputs(part: LatentAttention, d: Symbols, x: Tensor, ctx: ForwardContext) -> Forward[tuple[Tensor, Tensor]]:
    """Yield the leaves of the latent of queries; return it, and the input of their projection."""
    if part.q_rank is None:
        return x, x
    down = yield from linear("q_down", x, d.q_rank, "attention", bias=part.down_bias)
    latent = yield from _latent(part, "q_down_norm", down, ctx)
    beside = latent.new("both latents", *latent.axes[:-1], d.q_rank + d.q_rank)
    return latent, beside if part.raw_latent else latent


def _latent(part: LatentAttention, name: str, down: Tensor, ctx: ForwardContext) -> Forward[Tensor]:
    """Yield the leaves of a latent's norm and scale."""
    latent = yield from norm.leaves(part.norm, name, down, ctx)
    if not part.scale_latents:
        return latent
    yield Elementwise(name, latent.axes, "attention", "product")
    return latent.new("scaled latent")
