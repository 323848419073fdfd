"""The expressions of a layer whose branches work within a bottleneck."""

from __future__ import annotations

from archcalc.interp.trace.expression import Call, Expression, Module, call
from archcalc.spec.bottleneck import Bottleneck


def projected(part: Bottleneck, name: str, x: Expression, weight_prefix: str) -> Call:
    """Return a projection of the layer's input into the bottleneck, and its norm."""
    module = f"{weight_prefix}bottleneck.{name}"
    y = call("linear", x, Module(module))
    return y if part.norm is None else call("norm", y, Module(f"{module}_norm"))


def widened(x: Expression, stream: Expression, weight_prefix: str) -> Call:
    """Return the layer's input plus the stream of its branches, projected back."""
    return x + call("linear", stream, Module(f"{weight_prefix}bottleneck.up"))
