"""From the last state to logits."""

from __future__ import annotations

from archcalc.ledger import norm
from archcalc.ledger.activation import activated
from archcalc.ledger.algebra import Poly
from archcalc.ledger.forward import Pass
from archcalc.ledger.leaves import Forward, Matmul, Saved, Weight
from archcalc.ledger.linear import linear
from archcalc.ledger.symbols import Symbols
from archcalc.ledger.tensors import Tensor
from archcalc.spec.model import Head


def leaves(head: Head, d: Symbols, x: Tensor, width: Poly, here: Pass) -> Forward[Tensor]:
    """The head's own weights, and the products of every new token.

    `width` is what its matrix reads (d_embed, if it is a factorised table).
    """
    if head.scale is not None:
        x = x.new("scaled")
    if head.transform:
        x = yield from linear("transform", x, width, "head", bias=True)
        x = yield from activated(head.transform.activation, "transform", "head", x)
        x = yield from norm.leaves(head.transform.norm, "norm", x, here, "head")
    elif width != d.d_model:
        x = yield from linear("project", x, width, "embedding", bias=False)
    if not head.tied:
        yield matrix(d, width)
    if head.bias:
        yield Weight("bias", (d.vocab_size,), "head")
    yield Saved("logits", x, "head")
    yield Matmul("logits", (*x.axes, d.vocab_size), "head")
    logits = x.new("logits", *x.axes[:-1], d.vocab_size)
    if head.softcap:
        yield Saved("softcap", logits.new("tanh of the logits"), "head")
    return logits


def matrix(d: Symbols, width: Poly) -> Weight:
    """The matrix of the logits: a weight of its own, or the token table under a second name."""
    return Weight("weight", (d.vocab_size, width), "head")
