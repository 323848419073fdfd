"""The layout of a layer: the residual stream runs down a trunk; branches run beside it and are added."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec
from msgspec import structs

from archcalc.render.diagram import box_texts
from archcalc.render.diagram.shapes import Box, BoxText, Plus, Shape, Wire
from archcalc.spec.branches import (
    BranchNames,
    arm_conv,
    arm_norm,
    arm_norm_out,
    branches,
    names,
    stream_branches,
    stream_names,
)
from archcalc.spec.layer import Arm, Branch, Layer
from archcalc.spec.norm import Norm
from archcalc.spec.stream_variants import stream_implementation
from archcalc.spec.streams import AnyStreams
from archcalc.words import Translator, msg

GAP: Final = 22
# From the trunk to the boxes of a branch, and between two chains.
BRANCH_INDENT, CHAIN_GAP = 34, 16


class BranchTexts(msgspec.Struct, frozen=True):
    """The boxes of a residual branch: `shared` ones, then chains side by side, one for each arm.

    `after` follows the sum, on the stream, whose path is `sum_path`. `readers`: indices of the chains whose attention
    reads the source. `apart`: those that read the input of another branch, which their text names.
    """

    chains: tuple[tuple[BoxText, ...], ...]
    shared: tuple[BoxText, ...] = ()
    after: tuple[BoxText, ...] = ()
    readers: tuple[int, ...] = ()
    apart: tuple[int, ...] = ()
    sum_path: str = ""

    @property
    def width(self) -> float:
        """The width of the boxes beside the trunk."""
        widest, n = max(text.width for chain in self.chains for text in chain), len(self.chains)
        side_by_side = n * widest + CHAIN_GAP * (n - 1)
        return max([side_by_side, *(text.width for text in (*self.shared, *self.after))])


class Layout(msgspec.Struct):
    """The shapes so far, the y where they end, and the boxes that read the encoder's states."""

    shapes: list[Shape]
    y: float
    readers: list[Box]


def branch_texts(
    layer: Layer, path: str, d_model: int, say: Translator, *, is_causal: bool, parts: AnyStreams | None = None
) -> list[BranchTexts]:
    """Return the boxes of each residual branch of a layer, in order; `path` is that of the layer, with a point.

    A branch that is read by the next one comes before the boxes of that. `parts` are the residual streams, if there are
    several.
    """
    names_after = stream_names if parts is None else stream_implementation(parts, "names")
    streams, joining = iter(names_after(layer)), stream_branches(layer)
    found: list[BranchTexts] = []
    before: tuple[BoxText, ...] = ()
    for branch in branches(layer):
        stream = next(streams) if branch in joining else ""
        texts = _after(before, _branch(branch, path, stream, d_model, say, is_causal=is_causal))
        before = ()
        if branch.joins in ("next", "next_sum"):
            before = (*texts.shared, *(text for chain in texts.chains for text in chain))
        else:
            found.append(texts)
    return found


def _after(before: tuple[BoxText, ...], texts: BranchTexts) -> BranchTexts:
    """Return the boxes of a branch that reads what these boxes give."""
    if len(texts.chains) == 1:
        return structs.replace(texts, chains=((*before, *texts.chains[0]),))
    return structs.replace(texts, shared=(*before, *texts.shared))


def _branch(branch: Branch, path: str, stream: str, d_model: int, say: Translator, *, is_causal: bool) -> BranchTexts:
    own = names(branch)

    def at(text: BoxText, name: str | None) -> BoxText:
        return structs.replace(text, path=f"{path}{name}")

    def norms(part: Norm | None, name: str | None) -> tuple[BoxText, ...]:
        return () if part is None else (at(box_texts.norm(part), name),)

    def scale(value: float) -> tuple[BoxText, ...]:
        return () if value == 1 else (BoxText(say(msg("× {value}", value=f"{value:.4g}")), (), "other"),)

    def convolution(arm: Arm) -> tuple[BoxText, ...]:
        if arm.d_out_conv is None:
            return ()
        return (
            at(BoxText(say(msg("+ its convolution over {n} tokens", n=arm.d_out_conv)), (), "other"), arm_conv(arm)),
        )

    chains = [
        (
            *norms(arm.norm, arm_norm(arm)),
            *scale(arm.in_scale),
            at(_with_owner(branch, box_texts.part(arm, d_model, say, is_causal=is_causal), say), arm.name),
            *convolution(arm),
            *scale(arm.scale),
            *norms(arm.norm_out, arm_norm_out(arm)),
            *((BoxText(say(msg("+ its input")), (), "other"),) if arm.skip else ()),
        )
        for arm in branch.arms
    ]
    before, out = norms(branch.norm_in, own.norm_in), norms(branch.norm_out, own.norm_out)
    before = (*before, *(at(text, name) for text, name in _more_before(branch, own, say)))
    after = norms(branch.norm_after, own.norm_after)
    scales = scale(branch.scale)
    if branch.joins in _JOINED:
        joined = BoxText(say(_JOINED[branch.joins]), (), "other")
        scales = (*scales, at(joined, own.next) if own.next else joined)
    if own.skip is not None:
        factors = msg("to (the stream + b) × learned factors") if branch.skip_bias else _TIMES_FACTORS
        scales = (*scales, at(BoxText(say(factors), (), "other"), own.skip))
    if len(chains) == 1:
        chains, before = [(*before, *chains[0], *out, *scales)], ()
    readers = tuple(i for i, arm in enumerate(branch.arms) if arm.reads == "source")
    apart = tuple(i for i, arm in enumerate(branch.arms) if arm.input_of is not None)
    return BranchTexts(tuple(chains), before, after, readers, apart, f"{path}{own.sum or stream}")


def _more_before(branch: Branch, own: BranchNames, say: Translator) -> Iterator[tuple[BoxText, str | None]]:
    """Yield the boxes between the first norm and the arms, each with its name."""
    if branch.in_gate_rank is not None:
        yield box_texts.input_gate(branch.in_gate_rank, say), own.in_gate
    if own.norm_keys is not None:
        yield BoxText(say(msg("keys and values: own norms")), (), "norm"), own.norm_keys


_TIMES_FACTORS = msg("to the stream × learned factors")
_JOINED = {"next_sum": msg("+ the residual stream"), "later_streams": msg("to all streams but the first")}


def _with_owner(branch: Branch, text: BoxText, say: Translator) -> BoxText:
    """Return the text of a part with the layer that has its weights, if that is another."""
    if branch.weights_of is None:
        return text
    return structs.replace(
        text, lines=(*text.lines, say(msg("with the weights of layer {layer}", layer=branch.weights_of)))
    )


def add_branch(branch: BranchTexts, trunk: float, width: float, layout: Layout) -> None:
    """Add a branch below the shapes so far; `width` is that of its boxes."""
    left, top = trunk + BRANCH_INDENT, layout.y
    x = left + width / 2
    y, start = top, (trunk, top)
    for shared in branch.shared:
        layout.shapes.append(Wire((start, (x, y), (x, y + GAP)) if start[0] == trunk else (start, (x, y + GAP))))
        y = _box(shared, left, y + GAP, width, layout).bottom
        start = (x, y)
    bottom = _chains(branch, left, width, start, layout)
    end = bottom + GAP
    layout.shapes.append(Plus(trunk, end, path=branch.sum_path))
    layout.y = end
    for after in branch.after:
        box = _box(after, trunk - 20, end + GAP, BRANCH_INDENT + width + 20, layout)
        layout.shapes.append(Wire(((trunk, end + 8), (trunk, box.y))))
        layout.y = box.bottom
    layout.y += GAP


def _chains(branch: BranchTexts, left: float, width: float, start: tuple[float, float], layout: Layout) -> float:
    """Add the chains, from `start` to the sum on the trunk; return the y where the longest ends."""
    n = len(branch.chains)
    chain_width = (width - CHAIN_GAP * (n - 1)) / n
    trunk = left - BRANCH_INDENT
    ends = []
    for i, chain in enumerate(branch.chains):
        x, y = left + i * (chain_width + CHAIN_GAP) + chain_width / 2, start[1]
        for position, text in enumerate(chain):
            # The first box is wired from the start, which the chains share, the others from the box above.
            points = ((start[0], y), (x, y), (x, y + GAP)) if not position and start[0] != x else ((x, y), (x, y + GAP))
            if position or i not in branch.apart:
                layout.shapes.append(Wire(points))
            box = _box(text, x - chain_width / 2, y + GAP, chain_width, layout)
            y = box.bottom
        if i in branch.readers:
            text = next(text for text in reversed(chain) if text.component == "attention")
            layout.readers.append(next(box for box in layout.shapes if isinstance(box, Box) and box.text is text))
        ends.append((x, y))
    lowest = max(y for _, y in ends)
    for x, y in ends:
        layout.shapes.append(Wire(((x, y), (x, lowest + GAP), (trunk + 8, lowest + GAP))))
    return lowest


def _box(text: BoxText, x: float, y: float, width: float, layout: Layout) -> Box:
    box = Box(x, y, width, text.height, text)
    layout.shapes.append(box)
    return box
