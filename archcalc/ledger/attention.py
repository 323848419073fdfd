"""Grouped-query attention, with MHA and MQA as its ends; as self-attention and as cross-attention."""

from __future__ import annotations

from archcalc.ledger import norm
from archcalc.ledger.algebra import Poly
from archcalc.ledger.core import Heads, core
from archcalc.ledger.forward import Pass
from archcalc.ledger.leaves import Cache, Forward, Weight
from archcalc.ledger.linear import linear
from archcalc.ledger.rope import rotated
from archcalc.ledger.symbols import Symbols
from archcalc.ledger.tensors import Tensor
from archcalc.ledger.tokens import BATCH
from archcalc.spec.attention import Attention
from archcalc.spec.position import Alibi, RelativeBias, Rope


def leaves(part: Attention, d: Symbols, x: Tensor, here: Pass) -> Forward[Tensor]:
    """Projections, biases, q/k norms, sinks; scores and weighted values."""
    span, states = here.span, here.source or x
    window = d.window if part.window else None
    q = yield from _made(part, "q", d.n_heads, part.q_bias, d, x, here)
    k = yield from _made(part, "k", d.n_kv_heads, part.k_bias, d, states, here)
    made = yield from linear("v", states, d.n_kv_heads * d.d_head, "attention", bias=part.v_bias)
    v = made.view(BATCH, d.n_kv_heads, states.axes[1], d.d_head)
    if part.sinks:
        yield Weight("sinks", (d.n_heads,), "attention")
    if cached := span.cached(window):
        yield Cache("keys", (d.n_kv_heads, cached, d.d_head))
        yield Cache("values", (d.n_kv_heads, cached, d.d_head))
    heads = Heads(
        n_heads=d.n_heads,
        width=d.d_head,
        v_width=d.d_head,
        window=window,
        shown=part.window,
        bias=type(part.position) if isinstance(part.position, Alibi | RelativeBias) else None,
        softcap=part.softcap is not None,
        sinks=part.sinks,
    )
    y = yield from core(heads, q, k, v, here)
    return (yield from linear("out", y, d.d_model, "attention", bias=part.out_bias))


def _made(part: Attention, name: str, n_heads: Poly, bias: bool, d: Symbols, x: Tensor, here: Pass) -> Forward[Tensor]:
    """Queries or keys: projected, normed over each head or all, turned."""
    made = yield from linear(name, x, n_heads * d.d_head, "attention", bias=bias)
    by_head = made.view(BATCH, n_heads, x.axes[1], d.d_head)
    if part.qk_norm and part.qk_norm.over == "full":
        made = yield from norm.leaves(part.qk_norm.norm, f"{name}_norm", made, here)
        by_head = made.view(*by_head.axes)
    elif part.qk_norm:
        by_head = yield from norm.leaves(part.qk_norm.norm, f"{name}_norm", by_head, here)
    if isinstance(part.position, Rope):
        return (yield from rotated(part.position, name, by_head, d, here))
    return by_head
