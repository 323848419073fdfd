"""Vectors that are scaled down to a length where they are longer."""

from __future__ import annotations

from archcalc.ledger.algebra import ONE, Poly
from archcalc.ledger.forward_context import save
from archcalc.ledger.leaves import Elementwise, Forward, Save, Weight
from archcalc.ledger.tensor import Tensor


def length_clip(name: str, x: Tensor, factors: tuple[Poly, ...] = ()) -> Forward[Tensor]:
    """Yield the leaves of vectors of the last axis of `x` that are scaled down, after learned `factors` of these axes.

    In float32: the factors' product saves what it reads, the length its input and its output, the quotient a
    reciprocal, the minimum its input, and the last product its factors.
    """
    y = x.as_dtype("fp32")
    if factors:
        yield Weight(f"{name}_scale", factors, "norm")
        yield Elementwise(name, x.axes, "norm", "product")
        yield Save(name, y, "norm")
        # A parameter in another dtype is copied.
        yield Save(name, Tensor(f"{name}_scale", factors, x.dtype, is_stored=True).as_dtype("fp32"), "norm")
        y = y.new("scaled")
    yield Elementwise(name, x.axes, "norm", "length_clip")
    axes = *x.axes[:-1], ONE
    yield from save(name, "norm", y, *(y.new(label, *axes) for label in ("length", "1/length", "quotient", "factor")))
    return x.new(name.rpartition(".")[2])
