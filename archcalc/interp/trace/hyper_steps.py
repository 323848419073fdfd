"""The expressions of hyper-connections."""

from __future__ import annotations

from functools import reduce
from operator import add
from typing import TYPE_CHECKING

from archcalc.interp.trace.expression import Expression, Module, Value, call
from archcalc.spec.branches import stream_branches, streams_names
from archcalc.spec.streams import HyperConnections

if TYPE_CHECKING:
    from archcalc.interp.trace.model_steps import LayerSteps, Steps


def first_streams(part: HyperConnections, x: Value, prefix: str) -> Expression:
    """Return all streams before the first layer, which are its input."""
    return call("streams", *[x] * part.n_streams)


def merged_streams(part: HyperConnections, streams: Value, prefix: str) -> Expression:
    """Return the weighted sum of all streams."""
    logits = call("stream_logits", streams, Module(f"{prefix}streams"), part.norm_eps)
    return _read(part, streams, logits)


def layer_steps(part: HyperConnections, layer: LayerSteps, last: Value) -> Steps:
    """Yield the steps of a layer whose branches read and write all streams; return them after it."""
    n = part.n_streams
    for branch, name_after in zip(stream_branches(layer.layer), streams_names(layer.layer), strict=True):
        first = branch.arms[0].name
        module = Module(f"{layer.weight_prefix}streams.{first}")
        logits = call("stream_logits", last, module, part.norm_eps)
        logits_step = yield from layer.step(f"{first}_streams", "stream_weights", logits)
        read = yield from layer.step(f"{first}_read", "residual", _read(part, last, logits_step))
        layer.inputs[first] = branch_input = yield from layer.branch_input(branch, read)
        yield from layer.split_input(branch, branch_input, read, read)
        outputs = yield from layer.outputs(branch)
        total = reduce(add, [output if branch.scale == 1 else output * branch.scale for output in outputs])
        weights = call("sigmoid", call("last", call("first", logits_step, 2 * n), n)) * part.magnitude
        mixed: Expression = last
        if part.mix is not None:
            matrix = call("balanced", call("last", logits_step, n * n), part.mix.n_turns, part.eps)
            mixed = call("mixed_streams", matrix, last)
        written = mixed + call("spread", total, weights + part.write_eps if part.write_eps else weights)
        last = yield from layer.step(name_after, "streams", written)
    return last


def _read(part: HyperConnections, streams: Value, logits: Expression) -> Expression:
    """Return the weighted sum of all streams."""
    weights: Expression = call("sigmoid", call("first", logits, part.n_streams))
    return call("over_streams", streams, weights + part.eps if part.eps else weights)
