"""Norms: an optional scale and shift over the last axis."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from msgspec import structs

from archcalc.ledger.algebra import ONE, Poly
from archcalc.ledger.forward_context import ForwardContext, save
from archcalc.ledger.leaves import Component, Elementwise, Forward, Save, Weight
from archcalc.ledger.tensor import Tensor
from archcalc.spec.norm import Affine, LayerNorm, Norm, RMSNorm


def leaves(
    norm: Norm | None, name: str, x: Tensor, ctx: ForwardContext, component: Component = "norm"
) -> Forward[Tensor]:
    """Yield the leaves of a norm over the last axis of `x`; return `x` if there is no norm."""
    yield from weights(norm, name, x.axes[-1], component)
    if norm is None:
        return x
    return (yield from FORWARDS[type(norm)](norm, name, x, ctx, component))


def weights(norm: Norm | None, name: str, width: Poly, component: Component = "norm") -> Iterator[Weight]:
    """Yield the weights of a norm over `width`."""
    for part in PARAMETERS[type(norm)](norm):
        yield Weight(f"{name}.{part}", (width,), component)


def per_head(norm: Norm, name: str, n_heads: Poly, x: Tensor, ctx: ForwardContext) -> Forward[Tensor]:
    """Yield the leaves of a norm of `x` [..., n_heads, tokens, width] with separate weights for each head."""
    for part in PARAMETERS[type(norm)](norm):
        yield Weight(f"{name}.{part}", (n_heads, x.axes[-1]), "norm")
    weightless = structs.replace(norm, weight=False, bias=False)
    normed = yield from FORWARDS[type(norm)](weightless, name, x, ctx, "norm")
    if not norm.weight:
        return normed
    yield Save(name, normed, "norm")
    if getattr(norm, "unit_offset", False):
        yield Save(name, normed.new("1 + weight", n_heads, x.axes[-1]), "norm")
    return normed.new(name)


def pieces(norm: Norm, name: str, n_pieces: Poly, width: Poly, x: Tensor, ctx: ForwardContext) -> Forward[Tensor]:
    """Yield the leaves of a norm of each of `n_pieces` of `width` of the last axis of `x`, with weights for all."""
    yield from weights(norm, name, x.axes[-1])
    bare = structs.replace(norm, weight=False, bias=False)
    piece = x.view(*x.axes[:-1], n_pieces, width)
    normed = (yield from FORWARDS[type(norm)](bare, name, piece, ctx, "norm")).new(name, *x.axes)
    if not norm.weight:
        return normed
    yield Save(name, normed, "norm")
    if norm.unit_offset:
        yield Save(name, x.new("1 + weight", x.axes[-1]), "norm")
    return x.new(name)


def grouped(norm: RMSNorm | None, name: str, n_groups: Poly, x: Tensor) -> Forward[Tensor]:
    """Yield the leaves of a norm of each of `n_groups` groups of the last axis of `x`, which is in float32."""
    if norm is None:
        return x
    yield from weights(norm, name, x.axes[-1])
    yield Elementwise(name, x.axes, "norm", "rmsnorm")
    yield from save(name, "norm", x, x.new("1/root of the mean square", *x.axes[:-1], n_groups))
    if norm.weight:
        yield Save(name, x.new("normed"), "norm")
        if norm.unit_offset:
            yield Save(name, x.new("1 + weight", x.axes[-1]), "norm")
    return x.new(name)


def _layernorm(part: LayerNorm, name: str, x: Tensor, ctx: ForwardContext, component: Component) -> Forward[Tensor]:
    """One operation of torch: it saves its input, the means and the deviations."""
    yield Elementwise(name, x.axes, component, "layernorm")
    mean, deviation = (x.new(label, *x.axes[:-1], ONE, dtype=ctx.statistics_dtype) for label in ("mean", "1/deviation"))
    yield from save(name, component, x, mean, deviation)
    if part.weight and part.unit_offset:
        yield Save(name, x.new("1 + weight", x.axes[-1]), component)
    return x.new(name.rpartition(".")[2])


def _rmsnorm(part: RMSNorm, name: str, x: Tensor, ctx: ForwardContext, component: Component) -> Forward[Tensor]:
    """In float32: the square saves its input, the root its output, the products their factors."""
    yield Elementwise(name, x.axes, component, "rmsnorm")
    x_fp32 = x.as_dtype("fp32")
    yield from save(name, component, x_fp32, x_fp32.new("1/root of the mean square", *x.axes[:-1], ONE))
    normed = x_fp32.new("normed")
    if not part.weight:
        return x.new(name.rpartition(".")[2])
    if part.unit_offset:
        yield from save(name, component, normed, x_fp32.new("1 + weight", x.axes[-1]))
        return x.new(name.rpartition(".")[2])
    yield Save(name, normed.as_dtype(x.dtype), component)
    return x.new(name.rpartition(".")[2])


def _affine(part: Affine, name: str, x: Tensor, ctx: ForwardContext, component: Component) -> Forward[Tensor]:
    """A product with the weight, which saves its factors, and a sum."""
    yield Elementwise(name, x.axes, component, "affine")
    if part.weight:
        yield Save(name, x.new("shifted") if part.bias and part.bias_first else x, component)
        if part.unit_offset:
            yield Save(name, x.new("1 + weight", x.axes[-1]), component)
    return x.new(name.rpartition(".")[2])


FORWARDS: dict[type, Callable[[Any, str, Tensor, ForwardContext, Component], Forward[Tensor]]] = {
    LayerNorm: _layernorm,
    RMSNorm: _rmsnorm,
    Affine: _affine,
}


def _parameters(norm: Norm) -> list[str]:
    return ["weight"] * norm.weight + ["bias"] * norm.bias


def _none(_: None) -> list[str]:
    return []


PARAMETERS: dict[type, Callable[[Any], list[str]]] = {
    LayerNorm: _parameters,
    RMSNorm: _parameters,
    Affine: _parameters,
    type(None): _none,
}
