"""How a stack is laid out: what comes before its layers, each kind of layer in a frame, what comes after."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Final

from archcalc.render.diagram import said
from archcalc.render.diagram.layers import BRANCH, GAP, Placed, Slot, place, slots
from archcalc.render.diagram.shapes import LINE, Box, Frame, Label, Said, Wire, text_width
from archcalc.spec.groups import Group, groups
from archcalc.spec.model import ModelStack
from archcalc.units import exact
from archcalc.words import Translator, msg

# Room on each side of a frame's content, and left of the trunk.
SIDE: Final = 18
TRUNK: Final = 34
# Kinds of layers beyond these are counted and not drawn, as are ranges of layers in words.
MOST_KINDS, MOST_RANGES = 6, 3


class Column:
    """One stack from its tokens to its last state, below `top` and right of `left`."""

    def __init__(self, own: ModelStack, left: float, top: float, say: Translator) -> None:
        self._own, self._spec, self._stack, self._say = own, own.model, own.stack, say
        spec, stack, is_causal = self._spec, self._stack, own.is_causal
        self._groups = groups(stack)
        drawn = self._groups[:MOST_KINDS]
        self._slots = [slots(group.layer, spec.d_model, say, is_causal=is_causal) for group in drawn]
        self._heads = [self._head(group) for group in drawn]
        self._before = [said.embedding(spec, stack.position, say)]
        self._before += [said.embed_norm(stack.embed_norm, stack.embed_norm_reads, say)] if stack.embed_norm else []
        self._after = [said.norm(stack.final_norm)] if stack.final_norm else []
        self.left = left
        self._branch = self._branch_width()
        self.placed = Placed([], top, [])
        self.embedding: Box

    @property
    def width(self) -> float:
        """All of it."""
        return TRUNK + BRANCH + self._branch + SIDE

    @property
    def trunk(self) -> float:
        """Where the stream runs."""
        return self.left + TRUNK

    def draw(self) -> None:
        """Lay it out, from the top down."""
        say, at = self._say, self.placed
        tokens = "S" if self._own.is_source else "T"
        label = say(msg("source token ids: B × S") if tokens == "S" else msg("token ids: B × T"))
        at.shapes.append(Label(self.trunk + 10, at.y + 12, label))
        self.embedding, *_ = [self.box(one) for one in self._before]
        width = exact(self._spec.d_model)
        at.shapes.append(
            Label(self.trunk + 10, at.y + 16, say(msg("B × {tokens} × {width}", tokens=tokens, width=width)))
        )
        at.shapes.append(Wire(((self.trunk, at.y), (self.trunk, at.y + GAP)), has_arrow=False))
        at.y += GAP
        for head, group in zip(self._heads, self._slots, strict=True):
            self._frame(head, group)
        if hidden := len(self._groups) - len(self._slots):
            self.box(Said(say(msg("… and {n} more kinds of layers", n=hidden))))
        for one in self._after:
            self.box(one)

    def box(self, one: Said) -> Box:
        """A box across the whole column, on the stream."""
        at = self.placed
        box = Box(self.left, at.y + GAP, self.width, one.height, one)
        at.shapes += [Wire(((self.trunk, at.y), (self.trunk, box.y))), box]
        at.y = box.bottom
        return box

    def _frame(self, head: tuple[str, ...], group: list[Slot]) -> None:
        at = self.placed
        top = at.y + GAP
        begin = top + LINE * len(head) + 10
        at.y = begin + 6
        start = len(at.shapes)
        for slot in group:
            place(slot, self.trunk, self._branch, at)
        bottom = at.y
        # The stream itself, from above the frame through to its end.
        at.shapes.insert(start, Wire(((self.trunk, top - GAP), (self.trunk, bottom)), has_arrow=False))
        at.shapes.append(Frame(self.left, top, self.width, bottom - top, head, TRUNK + 10))
        at.y = bottom

    def _head(self, group: Group) -> tuple[str, ...]:
        say, n, all_ = self._say, len(group.layer_indices), self._stack.n_layers or 0
        name = say(msg("layer")) if group.name == "layers" else group.name
        if n == all_:
            first = say(msg("{n} × {name}", n=exact(n), name=name))
        else:
            told = {"n": exact(n), "all": exact(all_), "name": name, "turns": ranges(group.layer_indices)}
            first = say(msg("{n} of {all} × {name}: layers {turns}", **told))
        return (first, *self._shared(group))

    def _shared(self, group: Group) -> Iterator[str]:
        """What layers have of each other, and of an earlier one."""
        say, shares = self._say, group.layer.shares
        if shares is not None and shares.weights is not None:
            yield say(msg("with the weights of layer {layer}", layer=shares.weights))
        elif not group.own_weights and len(group.layer_indices) > 1:
            yield say(msg("one set of weights for all"))
        if shares is not None and shares.keys_values is not None:
            yield say(msg("keys and values of layer {layer}", layer=shares.keys_values))

    def _branch_width(self) -> float:
        """As wide as the widest part of the column asks for."""
        inner = [slot.width for group in self._slots for slot in group]
        across = [one.width for one in (*self._before, *self._after, *self._ending())]
        across += [text_width(line) + TRUNK + 20 for head in self._heads for line in head]
        return max([*inner, *(width - TRUNK - BRANCH - SIDE for width in across), 150.0])

    def _ending(self) -> list[Said]:
        return [said.head(self._spec, self._say)] if self._spec.head else []


def ranges(turns: tuple[int, ...]) -> str:
    """(0, 1, 2, 4) → '0–2, 4'; of many, the first few."""
    runs = [[turn for _, turn in run] for _, run in groupby(enumerate(turns), lambda pair: pair[1] - pair[0])]
    told = [str(run[0]) if len(run) == 1 else f"{run[0]}–{run[-1]}" for run in runs]
    return ", ".join(told if len(told) <= MOST_RANGES else [*told[:MOST_RANGES], "…"])
