"""Lightning attention, in chunks (Qin et al. 2024, section 3.2)."""

from __future__ import annotations

from archcalc.ledger import norm
from archcalc.ledger.activation import activation
from archcalc.ledger.algebra import ONE, Poly
from archcalc.ledger.forward_context import ForwardContext, save
from archcalc.ledger.leaves import Elementwise, Forward, Matmul, Save, State
from archcalc.ledger.linear import linear
from archcalc.ledger.symbols import Symbols
from archcalc.ledger.tensor import Tensor
from archcalc.ledger.tokens import BATCH, chunk_pairs, chunks, later_chunks, later_tokens
from archcalc.spec.mixer import Lightning


def leaves(part: Lightning, d: Symbols, x: Tensor, ctx: ForwardContext) -> Forward[Tensor]:
    """Yield the leaves of lightning attention."""
    width = d.n_heads * d.d_head
    for name in ("q", "k", "v"):
        y = yield from linear(name, x, width, "mixer", bias=False)
        yield from activation("silu", name, "mixer", y)
    yield State("state", (d.n_heads, d.d_head, d.d_head))
    yield from _chunked(x, d)
    mixed = yield from norm.leaves(part.norm, "norm", x.new("mixed", *x.axes[:2], width), ctx)
    gate = yield from linear("gate", x, width, "mixer", bias=False)
    gate = yield from activation("sigmoid", "gate", "mixer", gate)
    yield from save("gate", "mixer", mixed, gate)
    yield Elementwise("gate", gate.axes, "mixer", "gate")
    return (yield from linear("out", x.new("gated", *gate.axes), d.d_model, "mixer", bias=False))


def _chunked(x: Tensor, d: Symbols) -> Forward[None]:
    """Yield the leaves of the products within chunks, and of the states after each chunk.

    The first state has no gradient, and the last one is not part of the output. Decays have no gradient: products with
    them save the decays alone.
    """
    tokens, later, pairs = x.axes[1], later_tokens(d.chunk), chunk_pairs(d.chunk)
    earlier, heads = later_chunks(d.chunk) * d.chunk, (BATCH, d.n_heads)
    first, last = tokens - later, tokens - earlier

    def tensor(label: str, *axes: Poly) -> Tensor:
        return x.new(label, *heads, *axes)

    for name in ("queries", "keys", "values"):
        yield Save("core", tensor(name, tokens, d.d_head), "mixer")
    yield Matmul("queries · keys", (*heads, pairs, d.d_head), "mixer")
    yield Elementwise("core", (*heads, pairs), "mixer", "product")
    yield Save("core", x.new("decays", d.n_heads, first, first), "mixer")
    yield Save("core", tensor("decayed queries · keys", pairs), "mixer")
    yield Matmul("scores · values", (*heads, pairs, d.d_head), "mixer")
    yield Save("core", x.new("decays of queries and keys", ONE + 1, d.n_heads, tokens), "mixer")
    yield Save("core", tensor("states", chunks(d.chunk), d.d_head, d.d_head), "mixer")
    yield Save("core", tensor("decayed queries", later, d.d_head), "mixer")
    yield Matmul("queries · state", (*heads, later, d.d_head, d.d_head), "mixer")
    yield Matmul("queries · state", (*heads, first, d.d_head, d.d_head), "mixer", backward=1)
    yield Save("core", tensor("decayed keys", earlier, d.d_head), "mixer")
    yield Matmul("new state", (*heads, earlier, d.d_head, d.d_head), "mixer")
    yield Matmul("new state", (*heads, last, d.d_head, d.d_head), "mixer", backward=0)
