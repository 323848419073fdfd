"""Norms: a scale and perhaps a shift as wide as what they normalise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from msgspec import structs

from archcalc.ledger.algebra import ONE, Poly
from archcalc.ledger.forward import Pass, saved
from archcalc.ledger.leaves import Component, Elementwise, Forward, Saved, Weight
from archcalc.ledger.tensors import Tensor
from archcalc.spec.norm import LayerNorm, Norm, RMSNorm


def leaves(norm: Norm | None, name: str, x: Tensor, here: Pass, component: Component = "norm") -> Forward[Tensor]:
    """The weights of a norm over the last axis of `x` (none of none), and what it keeps to be differentiated."""
    yield from weights(norm, name, x.axes[-1], component)
    if norm is None:
        return x
    return (yield from FORWARDS[type(norm)](norm, name, x, here, component))


def weights(norm: Norm | None, name: str, width: Poly, component: Component = "norm") -> Iterator[Weight]:
    """The weights of a norm over `width` (none of none)."""
    for part in PARAMETERS[type(norm)](norm):
        yield Weight(f"{name}.{part}", (width,), component)


def each(norm: Norm, name: str, n_heads: Poly, x: Tensor, here: Pass) -> Forward[Tensor]:
    """A norm over each head's width of `x` [..., n_heads, tokens, width], every head with a weight of its own."""
    for part in PARAMETERS[type(norm)](norm):
        yield Weight(f"{name}.{part}", (n_heads, x.axes[-1]), "norm")
    bare = structs.replace(norm, **{field: False for field in ("weight", "bias") if hasattr(norm, field)})
    normed = yield from FORWARDS[type(norm)](bare, name, x, here, "norm")
    if not norm.weight:
        return normed
    yield Saved(name, normed, "norm")
    if getattr(norm, "unit_offset", False):
        yield Saved(name, normed.new("1 + weight", n_heads, x.axes[-1]), "norm")
    return normed.new(name)


def _layernorm(part: LayerNorm, name: str, x: Tensor, here: Pass, component: Component) -> Forward[Tensor]:
    """One operation of torch: it keeps its input, the means and the deviations."""
    yield Elementwise(name, x.axes, component, "layernorm")
    mean, deviation = (x.new(label, *x.axes[:-1], ONE, dtype=here.statistics) for label in ("mean", "1/deviation"))
    yield from saved(name, component, x, mean, deviation)
    if part.weight and part.unit_offset:
        yield Saved(name, x.new("1 + weight", x.axes[-1]), component)
    return x.new(name.rpartition(".")[2])


def _rmsnorm(part: RMSNorm, name: str, x: Tensor, here: Pass, component: Component) -> Forward[Tensor]:
    """In float32: the square keeps its input, the root its result, the product both; the scale keeps what it scales."""
    yield Elementwise(name, x.axes, component, "rmsnorm")
    wide = x.as_dtype("fp32")
    yield from saved(name, component, wide, wide.new("1/root of the mean square", *x.axes[:-1], ONE))
    normed = wide.new("normed")
    if not part.weight:
        return x.new(name.rpartition(".")[2])
    if part.unit_offset:
        yield from saved(name, component, normed, wide.new("1 + weight", x.axes[-1]))
        return x.new(name.rpartition(".")[2])
    yield Saved(name, normed.as_dtype(x.dtype), component)
    return x.new(name.rpartition(".")[2])


FORWARDS: dict[type, Callable[[Any, str, Tensor, Pass, Component], Forward[Tensor]]] = {
    LayerNorm: _layernorm,
    RMSNorm: _rmsnorm,
}


def _layernorm_parameters(norm: LayerNorm) -> list[str]:
    return ["weight"] * norm.weight + ["bias"] * norm.bias


def _rmsnorm_parameters(norm: RMSNorm) -> list[str]:
    return ["weight"] * norm.weight


def _none(_: None) -> list[str]:
    return []


PARAMETERS: dict[type, Callable[[Any], list[str]]] = {
    LayerNorm: _layernorm_parameters,
    RMSNorm: _rmsnorm_parameters,
    type(None): _none,
}
