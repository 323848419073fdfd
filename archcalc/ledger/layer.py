"""A layer: its parts, and the norms that its placement puts around them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import structs

from archcalc.ledger import attention, ffn, latent_attention, moe, norm
from archcalc.ledger.forward import Pass, dropped
from archcalc.ledger.leaves import Component, Forward, under
from archcalc.ledger.symbols import Symbols
from archcalc.ledger.tensors import Tensor
from archcalc.ledger.tokens import CROSS
from archcalc.spec.attention import Attention, LatentAttention
from archcalc.spec.base import Part
from archcalc.spec.ffn import Gated, MoE, Plain
from archcalc.spec.layer import Layer, Placement

# A variant of a part arrives as a file of its own and a line here.
PARTS: dict[type[Part], Callable[[Any, Symbols, Tensor, Pass], Forward[Tensor]]] = {
    Attention: attention.leaves,
    LatentAttention: latent_attention.leaves,
    Plain: ffn.plain,
    Gated: ffn.gated,
    MoE: moe.leaves,
}

# Whose masks a slot's dropout keeps.
_COMPONENTS: dict[str, Component] = {"attn": "attention", "cross": "attention", "ffn": "ffn"}


class LayerReader(msgspec.Struct, frozen=True):
    """A layer with each slot's dimensions, in a pass through its stack."""

    layer: Layer
    symbols: dict[str, Symbols]
    here: Pass

    def part(self, slot: str, x: Tensor) -> Forward[Tensor]:
        """What one part makes of the states, before any residual."""
        part = slots(self.layer)[slot]
        here = structs.replace(self.here, span=CROSS) if slot == "cross" else structs.replace(self.here, source=None)
        return (yield from under(f"{self.here.at}{slot}.", PARTS[type(part)](part, self.symbols[slot], x, here)))

    def normed(self, name: str, x: Tensor) -> Forward[Tensor]:
        """The states through the norm of this name."""
        return norm.leaves(self.layer.norm, self.here.at + name, x, self.here)

    def dropped(self, slot: str, y: Tensor) -> Forward[Tensor]:
        """What is about to join the residual stream, some of it dropped in training."""
        return dropped(y, self.here.dropout.residual, self.here, _COMPONENTS[slot], f"{self.here.at}{slot}.dropout")


def slots(layer: Layer) -> dict[str, Part]:
    """The parts a layer has, by the name their tensors carry."""
    parts = {"attn": layer.attention, "cross": layer.cross, "ffn": layer.ffn}
    return {name: part for name, part in parts.items() if part is not None}


def leaves(layer: Layer, symbols: dict[str, Symbols], x: Tensor, here: Pass) -> Forward[Tensor]:
    """A layer's leaves, from the states it reads to those it gives. `symbols` holds each slot's dimensions."""
    return PLACEMENTS[layer.placement](LayerReader(layer, symbols, here), x)


def _pre(reader: LayerReader, x: Tensor) -> Forward[Tensor]:
    for slot in slots(reader.layer):
        normed = yield from reader.normed(f"{slot}_norm", x)
        x = yield from _joined(reader, slot, normed)
    return x


def _post(reader: LayerReader, x: Tensor) -> Forward[Tensor]:
    for slot in slots(reader.layer):
        total = yield from _joined(reader, slot, x)
        x = yield from reader.normed(f"{slot}_norm", total)
    return x


def _sandwich(reader: LayerReader, x: Tensor) -> Forward[Tensor]:
    for slot in slots(reader.layer):
        normed = yield from reader.normed(f"{slot}_norm", x)
        x = yield from _normed_and_joined(reader, slot, normed)
    return x


def _output(reader: LayerReader, x: Tensor) -> Forward[Tensor]:
    for slot in slots(reader.layer):
        x = yield from _normed_and_joined(reader, slot, x)
    return x


def _parallel(reader: LayerReader, x: Tensor) -> Forward[Tensor]:
    """One norm serves all branches; it carries the attention's name."""
    normed = yield from reader.normed("attn_norm", x)
    for slot in slots(reader.layer):
        x = yield from _joined(reader, slot, normed)
    return x


def _parallel_two(reader: LayerReader, x: Tensor) -> Forward[Tensor]:
    made = x
    for slot in slots(reader.layer):
        normed = yield from reader.normed(f"{slot}_norm", x)
        made = yield from _joined(reader, slot, normed)
    return made


PLACEMENTS: dict[Placement, Callable[[LayerReader, Tensor], Forward[Tensor]]] = {
    "pre": _pre,
    "post": _post,
    "sandwich": _sandwich,
    "output": _output,
    "parallel": _parallel,
    "parallel_two": _parallel_two,
}


def _joined(reader: LayerReader, slot: str, read: Tensor) -> Forward[Tensor]:
    """The residual stream with what a part makes of `read`: a sum, which keeps nothing."""
    made = yield from reader.part(slot, read)
    yield from reader.dropped(slot, made)
    return read.new("states")


def _normed_and_joined(reader: LayerReader, slot: str, read: Tensor) -> Forward[Tensor]:
    made = yield from reader.part(slot, read)
    normed = yield from reader.normed(f"{slot}_out_norm", made)
    yield from reader.dropped(slot, normed)
    return read.new("states")
