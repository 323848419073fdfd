"""Hyper-connections: several residual streams that every branch reads and writes with weights of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from archcalc.ledger.algebra import ONE, Poly
from archcalc.ledger.forward_context import save
from archcalc.ledger.leaves import Elementwise, Forward, Matmul, Save, Weight
from archcalc.ledger.streams import streams
from archcalc.ledger.symbols import Symbols
from archcalc.ledger.tensor import Tensor
from archcalc.spec.branches import branches, is_idle
from archcalc.spec.layer import Layer
from archcalc.spec.streams import HyperConnections

if TYPE_CHECKING:
    from archcalc.ledger.layer import LayerBuilder


def split(part: HyperConnections, d: Symbols, x: Tensor) -> Forward[Tensor]:
    """Yield no leaves; return the streams, which all begin as `x`."""
    yield from ()
    return streams(x, d)


def merge(part: HyperConnections, d: Symbols, x: Tensor) -> Forward[Tensor]:
    """Yield the leaves of the weighted sum of all streams; return it."""
    logits = yield from _logits("streams", x, d.n_streams, ONE, d)
    return (yield from _read("streams", x, logits, d))


def layer(part: HyperConnections, builder: LayerBuilder, layer: Layer, x: Tensor) -> Forward[Tensor]:
    """Yield the leaves of a layer; return all streams."""
    d = next(iter(builder.symbols.values()))
    n_logits, n_groups = d.n_streams + d.n_streams, ONE + ONE
    if part.mix is not None:
        n_logits, n_groups = n_logits + d.n_streams * d.n_streams, n_groups + ONE
    for branch in branches(layer):
        if is_idle(branch):
            yield from builder.unused_weights(branch, x.view(*x.axes[:2], d.d_model))
            continue
        name = f"{builder.ctx.prefix}streams.{branch.arms[0].name}"
        logits = yield from _logits(name, x, n_logits, n_groups, d)
        read = yield from _read(name, x, logits, d)
        y = yield from builder.output(branch, read)
        y = y if branch.scale == 1.0 else y.new("scaled")
        x = yield from _written(part, name, x, y, logits, d)
    return x


def _logits(name: str, x: Tensor, n_logits: Poly, n_groups: Poly, d: Symbols) -> Forward[Tensor]:
    """Yield the leaves of the numbers that weights of streams follow from; return them [B, T, n_logits], in float32."""
    width = d.n_streams * d.d_model
    yield Weight(f"{name}.projection", (n_logits, width), "other")
    yield Weight(f"{name}.bias", (n_logits,), "other")
    yield Weight(f"{name}.scale", (n_groups,), "other")
    flat = x.view(*x.axes[:2], width)
    yield Elementwise(name, flat.axes, "other", "rmsnorm")
    root = x.new("1/root of the mean square", *x.axes[:2], ONE, dtype="fp32")
    yield from save(name, "other", flat.as_dtype("fp32"), root, flat)
    yield Matmul(name, (*flat.axes, n_logits), "other")
    product = x.new("product", *x.axes[:2], n_logits).as_dtype("fp32")
    yield from save(name, "other", product, product.new("normed"), x.new("scales", n_logits))
    return product.new("logits")


def _read(name: str, x: Tensor, logits: Tensor, d: Symbols) -> Forward[Tensor]:
    """Yield the leaves of the sum of all streams with their weights; return it."""
    weights = yield from _sigmoid(f"{name}.read", logits, d)
    yield Elementwise(f"{name}.read", x.axes, "other", "product")
    yield from save(f"{name}.read", "other", weights, x)
    return x.new("read", *x.axes[:2], d.d_model)


def _written(part: HyperConnections, name: str, x: Tensor, y: Tensor, logits: Tensor, d: Symbols) -> Forward[Tensor]:
    """Yield the leaves of the addition of `y` to all streams, mixed if `part` says so; return them."""
    weights = yield from _sigmoid(f"{name}.write", logits, d)
    if part.mix is not None:
        mix = yield from _balanced(f"{name}.mix", logits, d)
        yield from save(f"{name}.mix", "other", mix.as_dtype(x.dtype), x)
        yield Matmul(f"{name}.mix", (*x.axes[:2], d.n_streams, d.n_streams, d.d_model), "other")
    yield Elementwise(f"{name}.write", x.axes, "other", "product")
    yield from save(f"{name}.write", "other", weights, y)
    return streams(x, d)


def _sigmoid(name: str, logits: Tensor, d: Symbols) -> Forward[Tensor]:
    """Yield the leaves of a weight between 0 and a number for each stream; return the weights."""
    sigmoid = logits.new("sigmoid", *logits.axes[:2], d.n_streams)
    yield Elementwise(name, sigmoid.axes, "other", "sigmoid")
    yield Save(name, sigmoid, "other")
    return sigmoid.new("weights")


def _balanced(name: str, logits: Tensor, d: Symbols) -> Forward[Tensor]:
    """Yield the leaves of a matrix whose rows and columns sum to 1; return it. Each division saves both sides."""
    matrix = logits.new("softmax", *logits.axes[:2], d.n_streams, d.n_streams)
    yield Elementwise(name, matrix.axes, "other", "softmax")
    divisions = d.n_turns + d.n_turns - ONE
    yield Elementwise(name, (*matrix.axes, divisions), "other", "product")
    numerators = matrix.new("numerators", divisions, *matrix.axes)
    yield from save(name, "other", matrix, numerators, matrix.new("denominators", divisions, *matrix.axes[:3]))
    return matrix.new("mix")
