"""Alternating updates (AltUp): several residual streams, of which each layer computes one and changes all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from archcalc.ledger import norm
from archcalc.ledger.algebra import ONE
from archcalc.ledger.forward_context import ForwardContext, save
from archcalc.ledger.leaves import Elementwise, Forward, Matmul, Save, Weight
from archcalc.ledger.linear import linear
from archcalc.ledger.streams import streams
from archcalc.ledger.symbols import Symbols
from archcalc.ledger.tensor import Tensor
from archcalc.spec.branches import branches, later_branches
from archcalc.spec.layer import Layer
from archcalc.spec.streams import AltUp

if TYPE_CHECKING:
    from archcalc.ledger.layer import LayerBuilder


def split(part: AltUp, d: Symbols, x: Tensor) -> Forward[Tensor]:
    """Yield the leaves of projections of `x` to further streams of its magnitude; return all streams."""
    yield from _projections("streams.split", x, x, d)
    return streams(x, d)


def merge(part: AltUp, d: Symbols, x: Tensor) -> Forward[Tensor]:
    """Yield the leaves of projections of all streams but the first, to its magnitude; return the average."""
    first = x.view(*x.axes[:2], d.d_model)
    yield from _projections("streams.merge", first, x, d)
    return x.new("states", *first.axes)


def _projections(name: str, first: Tensor, read: Tensor, d: Symbols) -> Forward[None]:
    """Yield the leaves of projections of `read`, each scaled to the magnitude of `first`."""
    others = d.n_streams - ONE
    yield Weight(f"{name}.{{i}}.weight", (d.d_model, d.d_model), "other")
    each, sizes = (*first.axes[:2], others, d.d_model), (*first.axes[:2], others, ONE)
    yield from save(name, "other", first, first.new("magnitude", *first.axes[:2], ONE), read)
    yield Matmul(name, (*each, d.d_model), "other")
    yield from save(name, "other", first.new("projections", *each), first.new("mean squares", *sizes))
    yield from save(name, "other", first.new("magnitudes", *sizes), first.new("rescaled projections", *each))


def layer(part: AltUp, builder: LayerBuilder, layer: Layer, x: Tensor) -> Forward[Tensor]:
    """Yield the leaves of a layer; return all streams. Branches to later streams save no sums."""
    d = next(iter(builder.symbols.values()))
    predicted = yield from predict(part, x, d, builder.ctx)
    first = [branch for branch in branches(layer) if branch.joins == "stream"]
    y = yield from builder.branches(first, predicted.view(*x.axes[:2], d.d_model))
    corrected = yield from correct(part, predicted, y, d, builder.ctx)
    if later := later_branches(layer):
        read_stream = yield from read(part, corrected, d, builder.ctx)
        for branch in later:
            yield from builder.branch(branch, read_stream, read_stream)
    return streams(x, d)


def predict(part: AltUp, x: Tensor, d: Symbols, ctx: ForwardContext) -> Forward[Tensor]:
    """Yield the leaves of the mix of all streams, which a layer begins with; return the predicted streams."""
    prefix = f"{ctx.prefix}streams."
    yield from norm.weights(part.norm, f"{prefix}norm", d.d_model)
    yield Weight(f"{prefix}router.weight", (d.n_streams, d.d_model), "other")
    yield Weight(f"{prefix}out_scale", (d.d_model,), "other")
    # The router runs once more, to correct the streams.
    yield Matmul(f"{prefix}router", (*x.axes[:2], d.d_model, d.n_streams), "other", forward=2, backward=4)
    routed = yield from _routed(part, x.view(*x.axes[:2], d.d_model), "predict", d, ctx)
    mix = yield from linear(f"{prefix}predict", routed, d.n_streams * d.n_streams, "other", bias=False)
    yield from save(f"{prefix}mix", "other", mix, x)
    yield Matmul(f"{prefix}mix", (*x.axes[:2], d.n_streams, d.n_streams, d.d_model), "other")
    return streams(x, d)


def correct(part: AltUp, predicted: Tensor, y: Tensor, d: Symbols, ctx: ForwardContext) -> Forward[Tensor]:
    """Yield the leaves of the correction of all streams by what the layer changed; return the streams."""
    prefix = f"{ctx.prefix}streams."
    routed = yield from _routed(part, y, "correct", d, ctx)
    rates = yield from linear(f"{prefix}correct", routed, d.n_streams, "other", bias=False)
    yield from save(f"{prefix}corrected", "other", y.new("innovation"), rates.new("rates"))
    return streams(predicted, d)


def read(part: AltUp, corrected: Tensor, d: Symbols, ctx: ForwardContext) -> Forward[Tensor]:
    """Yield the leaves of the corrected stream that later branches read; return it."""
    name = f"{ctx.prefix}streams.out_scale"
    stream = corrected.view(*corrected.axes[:2], d.d_model)
    if not part.out_scale:
        return stream
    yield Elementwise(name, stream.axes, "other", "product")
    yield Save(name, stream, "other")
    return stream.new("scaled")


def _routed(part: AltUp, x: Tensor, use: str, d: Symbols, ctx: ForwardContext) -> Forward[Tensor]:
    """Yield the leaves of the router of `x` but its weights and product; return a number for each stream."""
    name = f"{ctx.prefix}streams.{use}"
    normed = yield from norm.FORWARDS[type(part.norm)](part.norm, f"{name}.norm", x, ctx, "norm")
    yield Save(f"{name}.router", normed.new("scaled"), "other")
    routed = x.new("routed", *x.axes[:-1], d.n_streams, dtype="fp32")
    yield Elementwise(f"{name}.router", routed.axes, "other", "tanh")
    yield Save(f"{name}.router", routed, "other")
    return routed.as_dtype(x.dtype)
