"""The expressions of several residual streams (AltUp)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import TYPE_CHECKING

from archcalc.interp.trace.expression import Expression, Module, Parameter, Value, call
from archcalc.spec.branches import later_branches
from archcalc.spec.streams import AltUp

if TYPE_CHECKING:
    from archcalc.interp.trace.model_steps import LayerSteps, Steps


def first_streams(part: AltUp, x: Value, prefix: str) -> Expression:
    """Return all streams before the first layer: its input, and projections of it."""
    others = (call("linear", x, Module(f"{prefix}streams.split.{i}")) for i in range(part.n_streams - 1))
    return call("streams", x, *(call("as_large", y, x) for y in others))


def merged_streams(part: AltUp, streams: Value, prefix: str) -> Expression:
    """Return the mean of the first stream and of projections of the others."""
    first = call("stream", streams, 0)
    others = (
        call("linear", call("stream", streams, i + 1), Module(f"{prefix}streams.merge.{i}"))
        for i in range(part.n_streams - 1)
    )
    return reduce(add, [first, *(call("as_large", y, first) for y in others)]) * (1 / part.n_streams)


def layer_steps(part: AltUp, layer: LayerSteps, last: Value) -> Steps:
    """Yield the steps of a layer that computes one of its streams; return all after it."""
    streams = AltUpExpressions(part, f"{layer.weight_prefix}streams.", layer.d_model)
    predicted = yield from layer.step("predicted", "streams", streams.predicted(last))
    residual = yield from layer.branches(streams.active(predicted))
    corrected = yield from layer.step("corrected", "streams", streams.corrected(predicted, residual))
    total: Expression = corrected
    if later := later_branches(layer.layer):
        read = yield from layer.step("active", "residual", streams.read(corrected))
    for branch in later:
        layer.inputs[branch.arms[0].name] = yield from layer.branch_input(branch, read)
        for output in (yield from layer.outputs(branch)):
            total = call("to_later", total, output)
    return (yield from layer.step("streams", "streams", total))


@dataclass(frozen=True)
class AltUpExpressions:
    """What a layer does with all streams; `prefix` begins the names of its weights."""

    part: AltUp
    prefix: str
    d_model: int

    def active(self, streams: Expression) -> Expression:
        """Return the stream that the layer computes."""
        return call("stream", streams, self.part.active)

    def predicted(self, streams: Expression) -> Expression:
        """Return the streams, each with a mix of all added."""
        factors = call("linear", self._routed(self.active(streams)), Module(f"{self.prefix}predict"))
        return streams + call("mixed_streams", factors, streams)

    def corrected(self, predicted: Value, y: Expression) -> Expression:
        """Return the streams, each with a share of what the layer changed in the active one."""
        shares = call("linear", self._routed(y), Module(f"{self.prefix}correct")) + 1.0
        return predicted + call("spread", y - self.active(predicted), shares)

    def read(self, corrected: Value) -> Expression:
        """Return what the later branches read."""
        active = self.active(corrected)
        return active * Parameter(f"{self.prefix}out_scale") if self.part.out_scale else active

    def _routed(self, x: Expression) -> Expression:
        normed = call("norm", x, Module(f"{self.prefix}norm")) * (1 / self.d_model)
        return call("tanh", call("linear", normed, Module(f"{self.prefix}router")))
