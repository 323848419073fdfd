"""Prompts of a stack: a table, and the two dense layers that make the keys and values of all layers of it."""

from __future__ import annotations

from archcalc.ledger.activation import activation
from archcalc.ledger.forward_context import ForwardContext, dropout, save
from archcalc.ledger.leaves import Forward, Weight, with_prefix
from archcalc.ledger.linear import linear
from archcalc.ledger.symbols import Symbols
from archcalc.ledger.tensor import Tensor


def leaves(arm: str, d: Symbols, ctx: ForwardContext) -> Forward[None]:
    """Yield the leaves of the prompts of one arm of every layer, computed once for all sequences.

    `d` holds the sizes of the arm.
    """
    return with_prefix(f"prompts.{arm}.", _leaves(d, ctx))


def _leaves(d: Symbols, ctx: ForwardContext) -> Forward[None]:
    axes = (d.n_prompt, d.d_model)
    yield Weight("table.weight", axes, "attention")
    yield from save("rows", "attention", Tensor("prompt rows", (d.n_prompt,), "int64"))
    x = Tensor("prompts", axes if ctx.span.passes is None else (ctx.span.passes, *axes), ctx.execution.dtype)
    x = yield from linear("up", x, d.d_prompt, "attention", bias=True)
    x = yield from activation("gelu", "up", "attention", x)
    width = d.n_kv_heads * d.d_head
    x = yield from linear("down", x, d.n_layers * (width + width), "attention", bias=True)
    x = yield from dropout(x, ctx.dropout.residual, ctx, "attention", "dropout")
    if ctx.execution.recompute == "full":
        yield from save("pairs", "attention", x)  # an input of every layer
