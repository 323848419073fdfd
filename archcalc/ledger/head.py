"""From the last state to logits, of the vocabulary or of labels; the pooler."""

from __future__ import annotations

from collections.abc import Callable

from archcalc.ledger import norm
from archcalc.ledger.activation import activated
from archcalc.ledger.algebra import ONE, Poly
from archcalc.ledger.forward import Pass
from archcalc.ledger.leaves import Forward, Matmul, Saved, Weight
from archcalc.ledger.linear import linear
from archcalc.ledger.symbols import Symbols
from archcalc.ledger.tensors import Tensor
from archcalc.spec.model import Head, HeadReads, Pooler, Transform


def leaves(head: Head, d: Symbols, x: Tensor, width: Poly, here: Pass) -> Forward[Tensor]:
    """The head's own weights, and the products of every new token, or of one state of the text.

    `width` is what its matrix reads (d_embed, if it is a factorised table).
    """
    if head.labels and head.labels.picks == "before":
        x = PICKS[head.labels.reads](x)
    if head.scale is not None:
        x = x.new("scaled")
    if head.transform:
        x = yield from _transformed(head.transform, d, x, width, here)
    elif width != d.d_model:
        x = yield from linear("project", x, width, "embedding", bias=False)
    if not head.tied:
        yield matrix(head, d, width)
    rows = n_rows(head, d)
    if head.bias:
        yield Weight("bias", (rows,), "head")
    if head.bias_buffer:
        yield Weight("bias_buffer", (ONE, rows), "head", kind="buffer")
    yield Saved("logits", x, "head")
    yield Matmul("logits", (*x.axes, rows), "head")
    logits = x.new("logits", *x.axes[:-1], rows)
    if head.softcap:
        yield Saved("softcap", logits.new("tanh of the logits"), "head")
    return logits


def _transformed(part: Transform, d: Symbols, x: Tensor, width: Poly, here: Pass) -> Forward[Tensor]:
    """Through one dense layer or two, an activation after each, and a norm."""
    layers = {"transform": d.d_hidden, "transform_out": width} if part.d_hidden else {"transform": width}
    for name, out in layers.items():
        x = yield from linear(name, x, out, "head", bias=part.bias)
        x = yield from activated(part.activation, name, "head", x)
    return (yield from norm.leaves(part.norm, "norm", x, here, "head"))


def matrix(head: Head, d: Symbols, width: Poly) -> Weight:
    """The matrix of the logits: a weight of its own, or the token table under a second name."""
    return Weight("weight", (n_rows(head, d), width), "head")


def n_rows(head: Head, d: Symbols) -> Poly:
    """How many logits there are."""
    return d.n_labels if head.labels else d.vocab_size


def pooler(part: Pooler, d: Symbols, x: Tensor) -> Forward[Tensor]:
    """A dense layer on the first token's state."""
    x = yield from linear("pooler", _one(x), d.d_model, "other", bias=True)
    return (yield from activated(part.activation, "pooler", "other", x))


def _every(x: Tensor) -> Tensor:
    return x


def _one(x: Tensor) -> Tensor:
    """One token's state: a view of all of them."""
    return x.view(x.axes[0], x.axes[-1])


def _mean(x: Tensor) -> Tensor:
    return x.new("mean", x.axes[0], x.axes[-1])


PICKS: dict[HeadReads, Callable[[Tensor], Tensor]] = {
    "every": _every,
    "pooled": _every,
    "first": _one,
    "last": _one,
    "mean": _mean,
}
