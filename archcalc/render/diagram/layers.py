"""How a layer is laid out: the residual stream runs down a trunk; what is computed of it goes aside and is added."""

from __future__ import annotations

from typing import Final

import msgspec

from archcalc.render.diagram import said
from archcalc.render.diagram.shapes import Box, Plus, Said, Shape, Wire
from archcalc.spec.branches import branches
from archcalc.spec.layer import Branch, Layer
from archcalc.spec.norm import Norm
from archcalc.words import Translator, msg

GAP: Final = 22
# From the trunk to the boxes beside it, and between two of those.
BRANCH, ASIDE = 34, 16


class Slot(msgspec.Struct, frozen=True):
    """What a layer computes of its stream in one go: chains of boxes side by side, behind boxes that they share.

    `after` stands on the stream itself, once the sum is made. `readers`: the chains whose attention reads the source.
    """

    chains: tuple[tuple[Said, ...], ...]
    shared: tuple[Said, ...] = ()
    after: tuple[Said, ...] = ()
    readers: tuple[int, ...] = ()

    @property
    def width(self) -> float:
        """The width of its boxes beside the trunk."""
        widest, n = max(one.width for chain in self.chains for one in chain), len(self.chains)
        side_by_side = n * widest + ASIDE * (n - 1)
        return max([side_by_side, *(one.width for one in (*self.shared, *self.after))])


class Placed(msgspec.Struct):
    """Shapes so far, the height that they end at, and where the encoder's states are read."""

    shapes: list[Shape]
    y: float
    reads: list[Box]


def slots(layer: Layer, d_model: int, say: Translator, *, is_causal: bool) -> list[Slot]:
    """A layer's slots in the order in which its stream comes by them: one for each residual branch."""
    return [_slot(branch, d_model, say, is_causal=is_causal) for branch in branches(layer)]


def _slot(branch: Branch, d_model: int, say: Translator, *, is_causal: bool) -> Slot:
    chains = [(*_norms(arm.norm), said.part(arm, d_model, say, is_causal=is_causal)) for arm in branch.arms]
    before, out, after = map(_norms, (branch.norm_in, branch.norm_out, branch.norm_after))
    scale = () if branch.scale == 1 else (Said(say(msg("× {value}", value=f"{branch.scale:.4g}")), (), "other"),)
    if len(chains) == 1:
        chains, before = [(*before, *chains[0], *out, *scale)], ()
    readers = tuple(i for i, arm in enumerate(branch.arms) if arm.reads == "source")
    return Slot(tuple(chains), before, after, readers)


def _norms(part: Norm | None) -> tuple[Said, ...]:
    return () if part is None else (said.norm(part),)


def place(slot: Slot, trunk: float, width: float, at: Placed) -> None:
    """Lay a slot out below what is there; `width` is that of its boxes."""
    left, top = trunk + BRANCH, at.y
    x = left + width / 2
    y, start = top, (trunk, top)
    for shared in slot.shared:
        at.shapes.append(Wire((start, (x, y), (x, y + GAP)) if start[0] == trunk else (start, (x, y + GAP))))
        y = _boxed(shared, left, y + GAP, width, at).bottom
        start = (x, y)
    bottom = _chains(slot, left, width, start, at)
    end = bottom + GAP
    at.shapes.append(Plus(trunk, end))
    at.y = end
    for after in slot.after:
        box = _boxed(after, trunk - 20, end + GAP, BRANCH + width + 20, at)
        at.shapes.append(Wire(((trunk, end + 8), (trunk, box.y))))
        at.y = box.bottom
    at.y += GAP


def _chains(slot: Slot, left: float, width: float, start: tuple[float, float], at: Placed) -> float:
    """The chains from one point to the sum on the trunk; the height that the longest ends at."""
    n = len(slot.chains)
    each = (width - ASIDE * (n - 1)) / n
    trunk = left - BRANCH
    ends = []
    for i, chain in enumerate(slot.chains):
        x, y = left + i * (each + ASIDE) + each / 2, start[1]
        for link, one in enumerate(chain):
            # The first is reached from the point that all begin at, the others from the box above.
            way = ((start[0], y), (x, y), (x, y + GAP)) if not link and start[0] != x else ((x, y), (x, y + GAP))
            at.shapes.append(Wire(way))
            box = _boxed(one, x - each / 2, y + GAP, each, at)
            y = box.bottom
        if i in slot.readers:
            reading = next(one for one in reversed(chain) if one.component == "attention")
            at.reads.append(next(box for box in at.shapes if isinstance(box, Box) and box.said is reading))
        ends.append((x, y))
    lowest = max(y for _, y in ends)
    for x, y in ends:
        at.shapes.append(Wire(((x, y), (x, lowest + GAP), (trunk + 8, lowest + GAP))))
    return lowest


def _boxed(one: Said, x: float, y: float, width: float, at: Placed) -> Box:
    box = Box(x, y, width, one.height, one)
    at.shapes.append(box)
    return box
