"""The expressions of a stream that is set aside now and then."""

from __future__ import annotations

from collections.abc import Generator
from functools import reduce
from operator import add
from typing import TYPE_CHECKING

from archcalc.interp.trace.expression import Expression, Parameter, Value, call
from archcalc.spec.branches import stream_branches, streams_names
from archcalc.spec.layer import Branch
from archcalc.spec.streams import SetAside

if TYPE_CHECKING:
    from archcalc.interp.trace.model_steps import LayerSteps, Steps
    from archcalc.interp.trace.step import Step


def first_streams(part: SetAside, x: Value, prefix: str) -> Expression:
    """Return the one stream before the first layer, which is its input."""
    return call("streams", x)


def merged_streams(part: SetAside, streams: Value, prefix: str) -> Expression:
    """Return the weighted sum of all streams."""
    return call("attended_streams", streams, Parameter(f"{prefix}streams.query"), part.eps)


def layer_steps(part: SetAside, layer: LayerSteps, last: Value) -> Steps:
    """Yield the steps of a layer whose branches read all streams and are added to the newest; return all after it."""
    is_first, begins = layer.index == 0, part.begins(layer.index)
    for branch, name_after in zip(stream_branches(layer.layer), streams_names(layer.layer), strict=True):
        first = branch.arms[0].name
        read, keys, values = yield from _reads(part, layer, branch, last, is_first)
        layer.inputs[first] = branch_input = yield from layer.branch_input(branch, read)
        yield from layer.split_input(branch, branch_input, keys, values)
        outputs = yield from layer.outputs(branch)
        total = reduce(add, [output if branch.scale == 1 else output * branch.scale for output in outputs])
        written = call("with_stream" if begins else "to_newest", last, total)
        last = yield from layer.step(name_after, "streams", written)
        is_first = begins = False
    return last


def _reads(
    part: SetAside, layer: LayerSteps, branch: Branch, streams: Value, is_first: bool
) -> Generator[Step, None, tuple[Value, Value, Value]]:
    """Yield the steps of what a branch reads; return what queries, keys and values read."""
    first = branch.arms[0].name
    if is_first:
        read = yield from layer.step(f"{first}_read", "residual", call("stream", streams, 0))
        return read, read, read
    query = Parameter(f"{layer.weight_prefix}streams.{first}.query")
    if not branch.splits_input:
        attended = call("attended_streams", streams, query, part.eps)
        read = yield from layer.step(f"{first}_read", "residual", attended)
        return read, read, read
    found = []
    for i, of in enumerate(("", "_keys", "_values")):
        attended = call("attended_streams", streams, call("picked", query, i), part.eps)
        found.append((yield from layer.step(f"{first}_read{of}", "residual", attended)))
    return found[0], found[1], found[2]
