"""The head, which computes logits of the vocabulary or of labels, and the pooler."""

from __future__ import annotations

from collections.abc import Callable

from archcalc.ledger import norm
from archcalc.ledger.activation import activation
from archcalc.ledger.algebra import ONE, Poly
from archcalc.ledger.forward_context import ForwardContext
from archcalc.ledger.leaves import Forward, Matmul, Save, Weight
from archcalc.ledger.linear import linear
from archcalc.ledger.symbols import Symbols
from archcalc.ledger.tensor import Tensor
from archcalc.spec.model import Head, HeadReads, Pooler, Transform


def leaves(head: Head, d: Symbols, x: Tensor, width: Poly, ctx: ForwardContext) -> Forward[Tensor]:
    """Yield the leaves of the head, for every new token or for one state of the text.

    `width` is the input width of its matrix (d_embed for a factorized table), without columns of its own.
    """
    read = d.d_model if head.own_columns else width
    if head.labels and head.labels.picks == "before":
        x = PICKS[head.labels.reads](x)
    if head.scale is not None:
        x = x.new("scaled")
    if head.transform:
        x = yield from _transform(head.transform, d, x, read, ctx)
    elif read != d.d_model:
        x = yield from linear("project", x, read, "embedding", bias=False)
    if not head.tied:
        yield matrix(head, d, width)
    rows = n_rows(head, d)
    if head.bias:
        yield Weight("bias", (rows,), "head")
    if head.bias_buffer:
        yield Weight("bias_buffer", (ONE, rows), "head", kind="buffer")
    yield Save("logits", x, "head")
    yield Matmul("logits", (*x.axes[:-1], width, rows), "head")
    if head.own_columns:
        own = x.axes[-1] - width
        yield Weight("columns.weight", (rows, own), "head")
        yield Matmul("columns", (*x.axes[:-1], own, rows), "head")
    logits = x.new("logits", *x.axes[:-1], rows)  # those of padding rows too, which are cut later
    if head.softcap:
        yield Save("softcap", logits.new("tanh of the logits"), "head")
    return logits


def _transform(part: Transform, d: Symbols, x: Tensor, width: Poly, ctx: ForwardContext) -> Forward[Tensor]:
    """Yield the leaves of one or two dense layers, each with an activation, and of a norm."""
    layers = {"transform": d.d_hidden, "transform_out": width} if part.d_hidden else {"transform": width}
    for name, out in layers.items():
        x = yield from linear(name, x, out, "head", bias=part.bias)
        x = yield from activation(part.activation, name, "head", x)
    return (yield from norm.leaves(part.norm, "norm", x, ctx, "head"))


def matrix(head: Head, d: Symbols, width: Poly) -> Weight:
    """Return the matrix of the logits: a separate weight, or the token table under a second name."""
    return Weight("weight", (n_rows(head, d), width), "head")


def n_rows(head: Head, d: Symbols) -> Poly:
    """Return the number of logits."""
    return d.n_labels if head.labels else d.vocab_size


def pooler(part: Pooler, d: Symbols, x: Tensor) -> Forward[Tensor]:
    """Yield the leaves of a dense layer on the first token's state."""
    x = yield from linear("pooler", _single_token(x), d.d_model, "other", bias=True)
    return (yield from activation(part.activation, "pooler", "other", x))


def _all_tokens(x: Tensor) -> Tensor:
    return x


def _single_token(x: Tensor) -> Tensor:
    """Return one token's state: a view of all of them."""
    return x.view(x.axes[0], x.axes[-1])


def _token_mean(x: Tensor) -> Tensor:
    return x.new("mean", x.axes[0], x.axes[-1])


PICKS: dict[HeadReads, Callable[[Tensor], Tensor]] = {
    "every": _all_tokens,
    "pooled": _all_tokens,
    "first": _single_token,
    "last": _single_token,
    "mean": _token_mean,
}
