"""Experts of one hidden unit each, chosen by product keys: router, choice, rows of two tables."""

from __future__ import annotations

from archcalc.ledger.activation import activation
from archcalc.ledger.forward_context import ForwardContext, dropout, save
from archcalc.ledger.leaves import Elementwise, Forward, Matmul, Save, Weight
from archcalc.ledger.linear import linear
from archcalc.ledger.symbols import Symbols
from archcalc.ledger.tensor import Tensor
from archcalc.spec.ffn import ProductKeys


def leaves(part: ProductKeys, d: Symbols, x: Tensor, ctx: ForwardContext) -> Forward[Tensor]:
    """Yield the leaves of the router and of the chosen experts."""
    *before, d_model = x.axes
    yield from linear("router", x, d.n_keys + d.n_keys, "ffn", bias=False)
    chosen = Tensor("chosen experts", (*before, d.n_active), "int64")
    weights = x.new("shares", *before, d.n_active)
    yield Elementwise("router", weights.axes, "ffn", "softmax")
    yield from save("router", "ffn", chosen, weights)
    yield from _rows("up_rows", d, x, chosen)
    yield Save("up_rows", x, "ffn")
    yield Matmul("up · x", (*before, d.n_active, d_model), "ffn")
    activated = yield from activation(part.activation, "activation", "ffn", x.new("hidden", *before, d.n_active))
    yield Elementwise("activation", weights.axes, "ffn", "product")
    yield from save("activation", "ffn", activated, weights)
    hidden = yield from dropout(activated.new("hidden"), ctx.dropout.ffn, ctx, "ffn", "activation")
    yield from _rows("down_rows", d, x, chosen)
    yield Save("down_rows", hidden, "ffn")
    yield Matmul("hidden · down", (*before, d.n_active, d_model), "ffn")
    return x.new("mixed")


def _rows(name: str, d: Symbols, x: Tensor, chosen: Tensor) -> Forward[None]:
    """Yield the leaves of the rows of a table that the chosen experts have, a copy for each token."""
    *before, d_model = x.axes
    yield Weight(f"{name}.weight", (d.n_experts, d_model), "ffn", active_axes=(d.n_active, d_model))
    yield from save(name, "ffn", chosen, x.new("rows of each token", *before, d.n_active, d_model))
