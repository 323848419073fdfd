"""One record for each way to have several residual streams, like those of the variants of a part."""

from typing import Any

import msgspec

from archcalc.spec.base import Part
from archcalc.spec.streams import AltUp, AnyStreams, HyperConnections, SetAside
from archcalc.spec.variants import imported_function


class StreamVariant(msgspec.Struct, frozen=True, kw_only=True):
    """The implementations of one way to have several streams.

    `check(part, stack, where)` refuses what it cannot be. `split(part, d, x)` and `merge(part, d, streams)` yield the
    leaves before the first and after the last layer, `layer(part, builder, layer, streams)` those of a layer. `ends`
    builds the module of the stack, `module(part, layer, model, index)` that of a layer.
    `sites(part, layer, width, index)` are the named points of a layer. `first_steps(part, x, prefix)` and
    `merged_steps(part, streams, prefix)` are the formulas of the ends, `steps(part, layer_steps, streams)` yields the
    steps of a layer. `names(layer)` are those of the stream or of all streams after each branch.
    `attribution(reading, part)` pulls directions back through the streams. `label` and
    `layer_label(part, say)` are texts in a diagram: of the embedding, and of a layer, or None.
    """

    check: str
    split: str
    merge: str
    layer: str
    ends: str
    module: str
    sites: str
    first_steps: str
    merged_steps: str
    steps: str
    names: str
    attribution: str
    label: str
    layer_label: str | None


STREAMS: dict[type[Part], StreamVariant] = {
    AltUp: StreamVariant(
        check="archcalc.spec.resolve_streams:check_altup",
        split="archcalc.ledger.altup:split",
        merge="archcalc.ledger.altup:merge",
        layer="archcalc.ledger.altup:layer",
        ends="archcalc.nn.altup:AltUpEnds",
        module="archcalc.nn.altup:AltUp",
        sites="archcalc.spec.stream_sites:altup",
        first_steps="archcalc.interp.trace.altup_steps:first_streams",
        merged_steps="archcalc.interp.trace.altup_steps:merged_streams",
        steps="archcalc.interp.trace.altup_steps:layer_steps",
        names="archcalc.spec.branches:stream_names",
        attribution="archcalc.interp.heads.attribution_streams:AltUpStreams",
        label="archcalc.render.diagram.stream_texts:projected",
        layer_label=None,
    ),
    HyperConnections: StreamVariant(
        check="archcalc.spec.resolve_streams:check_hyper",
        split="archcalc.ledger.hyper:split",
        merge="archcalc.ledger.hyper:merge",
        layer="archcalc.ledger.hyper:layer",
        ends="archcalc.nn.hyper:HyperEnds",
        module="archcalc.nn.hyper:HyperConnections",
        sites="archcalc.spec.stream_sites:hyper",
        first_steps="archcalc.interp.trace.hyper_steps:first_streams",
        merged_steps="archcalc.interp.trace.hyper_steps:merged_streams",
        steps="archcalc.interp.trace.hyper_steps:layer_steps",
        names="archcalc.spec.branches:streams_names",
        attribution="archcalc.interp.heads.attribution_streams:HyperStreams",
        label="archcalc.render.diagram.stream_texts:repeated",
        layer_label="archcalc.render.diagram.stream_texts:connected",
    ),
    SetAside: StreamVariant(
        check="archcalc.spec.resolve_streams:check_set_aside",
        split="archcalc.ledger.set_aside:split",
        merge="archcalc.ledger.set_aside:merge",
        layer="archcalc.ledger.set_aside:layer",
        ends="archcalc.nn.set_aside:SetAsideEnds",
        module="archcalc.nn.set_aside:SetAside",
        sites="archcalc.spec.stream_sites:set_aside",
        first_steps="archcalc.interp.trace.set_aside_steps:first_streams",
        merged_steps="archcalc.interp.trace.set_aside_steps:merged_streams",
        steps="archcalc.interp.trace.set_aside_steps:layer_steps",
        names="archcalc.spec.branches:streams_names",
        attribution="archcalc.interp.heads.attribution_streams:SetAsideStreams",
        label="archcalc.render.diagram.stream_texts:set_aside",
        layer_label="archcalc.render.diagram.stream_texts:attended",
    ),
}


def stream_implementation(part: AnyStreams, name: str) -> Any:
    """Return the function of this name in the record of several streams; None if there is none."""
    path = getattr(STREAMS[type(part)], name)
    return None if path is None else imported_function(path)
