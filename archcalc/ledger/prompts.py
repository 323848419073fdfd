"""Learned keys and values of a whole stack: the table, and the two dense layers that make them of it."""

from __future__ import annotations

from archcalc.ledger.activation import activated
from archcalc.ledger.forward import Pass, dropped
from archcalc.ledger.leaves import Forward, Weight, under
from archcalc.ledger.linear import linear
from archcalc.ledger.symbols import Symbols
from archcalc.ledger.tensors import Tensor


def leaves(arm: str, d: Symbols, here: Pass) -> Forward[None]:
    """The prompts of one arm of every layer. `d` holds the arm's dimensions; a pass makes them once for all texts."""
    return under(f"prompts.{arm}.", _leaves(d, here))


def _leaves(d: Symbols, here: Pass) -> Forward[None]:
    table = (d.n_prompt, d.d_model)
    yield Weight("table.weight", table, "attention")
    x = Tensor("prompts", table if here.span.passes is None else (here.span.passes, *table), here.how.dtype)
    x = yield from linear("up", x, d.d_prompt, "attention", bias=True)
    x = yield from activated("gelu", "up", "attention", x)
    width = d.n_kv_heads * d.d_head
    x = yield from linear("down", x, d.n_layers * (width + width), "attention", bias=True)
    yield from dropped(x, here.dropout.residual, here, "attention", "dropout")
