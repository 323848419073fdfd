"""A stream that is set aside now and then; branches read sums of all streams with weights of a softmax."""

from __future__ import annotations

from typing import TYPE_CHECKING

from archcalc.ledger.algebra import ONE, Poly
from archcalc.ledger.forward_context import save
from archcalc.ledger.leaves import Elementwise, Forward, Matmul, Save, Weight
from archcalc.ledger.symbols import Symbols
from archcalc.ledger.tensor import Tensor
from archcalc.spec.branches import branches, is_idle
from archcalc.spec.layer import Layer
from archcalc.spec.streams import SetAside

if TYPE_CHECKING:
    from archcalc.ledger.layer import LayerBuilder


def split(part: SetAside, d: Symbols, x: Tensor) -> Forward[Tensor]:
    """Yield no leaves; return the one stream, which is `x`."""
    yield from ()
    return x.view(*x.axes[:2], ONE, d.d_model)


def merge(part: SetAside, d: Symbols, x: Tensor) -> Forward[Tensor]:
    """Yield the leaves of the weighted sum of all streams; return it."""
    (states,) = yield from _sums("streams", x, 1)
    return states


def layer(part: SetAside, builder: LayerBuilder, layer: Layer, x: Tensor) -> Forward[Tensor]:
    """Yield the leaves of a layer; return all streams."""
    index, d_model = builder.ctx.layer, x.axes[-1]
    is_first, n_after = index == 0, Poly.constant(part.n_before(index + 1))
    for branch in branches(layer):
        stream = x.view(*x.axes[:2], d_model)
        if is_idle(branch):
            yield from builder.unused_weights(branch, stream)
            continue
        name = f"{builder.ctx.prefix}streams.{branch.arms[0].name}"
        reads = (stream,) if is_first else (yield from _sums(name, x, 3 if branch.splits_input else 1))
        read, *others = reads
        yield from builder.output(branch, read, (others[0], others[1]) if others else None)
        x, is_first = x.new("streams", *x.axes[:2], n_after, d_model), False
    return x


def _sums(name: str, x: Tensor, n_queries: int) -> Forward[tuple[Tensor, ...]]:
    """Yield the leaves of queries that read all streams [B, T, n, D]; return what each reads.

    In float32: the norm saves its input and the root, the products what they read, the softmax its output.
    """
    batch, tokens, n, d_model = x.axes
    n_all = Poly.constant(n_queries)
    axes = (d_model,) if n_queries == 1 else (n_all, d_model)
    yield Weight(f"{name}.query", axes, "other")
    y = x.as_dtype("fp32")
    yield Elementwise(name, x.axes, "other", "rmsnorm")
    yield from save(name, "other", y, y.new("1/root of the mean square", batch, tokens, n, ONE))
    normed = y.new("normed")
    # A parameter in another dtype is copied.
    query = Tensor(f"{name}.query", axes, x.dtype, is_stored=True).as_dtype("fp32")
    yield from save(name, "other", normed, query)
    yield Matmul(f"{name}.logits", (batch, tokens, n, d_model, n_all), "other")
    pattern = y.new("pattern", batch, tokens, n, n_all)
    yield Elementwise(name, pattern.axes, "other", "softmax")
    yield Save(name, pattern, "other")
    yield Matmul(f"{name}.sums", (batch, tokens, n_all, n, d_model), "other")
    total = x.new("read", batch, tokens, n_all, d_model)
    return tuple(total.view(batch, tokens, d_model) for _ in range(n_queries))
