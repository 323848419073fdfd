"""Multi-head latent attention."""

from __future__ import annotations

from archcalc.ledger import norm
from archcalc.ledger.core import Heads, core
from archcalc.ledger.forward import Pass
from archcalc.ledger.leaves import Cache, Forward
from archcalc.ledger.linear import linear
from archcalc.ledger.rope import rotated
from archcalc.ledger.symbols import Symbols
from archcalc.ledger.tensors import Tensor
from archcalc.ledger.tokens import BATCH
from archcalc.spec.attention import LatentAttention


def leaves(part: LatentAttention, d: Symbols, x: Tensor, here: Pass) -> Forward[Tensor]:
    """Down-projections, latent norms, up-projections, output; scores and weighted values.

    What is cached is the latent, so keys and values are made anew of all that is held: kv_up runs over every key.
    """
    new, held, width = here.span.queries, here.span.held, d.d_nope + d.d_rope
    q = yield from _queries(part, d, x, here)
    turned = yield from rotated(part.position, "q", q.view(BATCH, d.n_heads, new, d.d_rope), d, here)
    down = yield from linear("kv_down", x, d.kv_rank + d.d_rope, "attention", bias=part.down_bias)
    yield from rotated(part.position, "k", down.view(BATCH, new, d.d_rope), d, here)
    latent = yield from norm.leaves(part.norm, "kv_down_norm", down.view(BATCH, new, d.kv_rank), here)
    if cached := here.span.cached(None):
        yield Cache("latent", (cached, d.kv_rank))
        yield Cache("rotary_key", (cached, d.d_rope))
    read = latent.view(BATCH, held, d.kv_rank)
    up = yield from linear("kv_up", read, d.n_heads * (d.d_nope + d.d_v), "attention", bias=False)
    y = yield from core(
        Heads(n_heads=d.n_heads, width=width, v_width=d.d_v, uneven=True),
        turned.new("queries", BATCH, d.n_heads, new, width),
        up.new("keys", BATCH, d.n_heads, held, width),
        up.new("values", BATCH, d.n_heads, held, d.d_v),
        here,
    )
    return (yield from linear("out", y, d.d_model, "attention", bias=part.out_bias))


def _queries(part: LatentAttention, d: Symbols, x: Tensor, here: Pass) -> Forward[Tensor]:
    width = d.n_heads * (d.d_nope + d.d_rope)
    if part.q_rank is None:
        return (yield from linear("q", x, width, "attention", bias=False))
    down = yield from linear("q_down", x, d.q_rank, "attention", bias=part.down_bias)
    normed = yield from norm.leaves(part.norm, "q_down_norm", down, here)
    return (yield from linear("q_up", normed, width, "attention", bias=False))
