"""The layout of a stack: the embedding, a frame for each kind of layer, the final norm."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Final

from msgspec import structs

from archcalc.render.diagram import box_texts
from archcalc.render.diagram.layer_layout import BRANCH_INDENT, GAP, BranchTexts, Layout, add_branch, branch_texts
from archcalc.render.diagram.shapes import LINE, Box, BoxText, Frame, Label, Wire, text_width
from archcalc.spec.groups import Group, groups
from archcalc.spec.model import ModelStack, Spec
from archcalc.spec.stream_variants import stream_implementation
from archcalc.units import exact
from archcalc.words import Translator, msg

# Space on each side of a frame's content, and left of the trunk.
FRAME_PADDING: Final = 18
TRUNK_INDENT: Final = 34
# The most kinds of layers that are drawn, and the most ranges of layers in a text.
MAX_KINDS, MAX_RANGES = 6, 3


class StackColumn:
    """One stack from its tokens to its last state, below `top` and right of `left`."""

    def __init__(self, model_stack: ModelStack, left: float, top: float, say: Translator) -> None:
        self._model_stack, self._say = model_stack, say
        self._spec, self._stack = model_stack.model, model_stack.stack
        spec, stack, is_causal = self._spec, self._stack, model_stack.is_causal
        self._groups = groups(stack)
        kinds, parts = self._groups[:MAX_KINDS], stack.streams
        self._branches = [
            branch_texts(each.layer, self._path(each), _width(each, spec), say, is_causal=is_causal, parts=parts)
            for each in kinds
        ]
        self._headings = [self._heading(group) for group in kinds]
        self._before = [self._with_path(box_texts.embedding(spec, stack, say), "embed")]
        self._before += (
            [box_texts.embed_norm(stack.embed_norm, stack.embed_norm_reads, say)] if stack.embed_norm else []
        )
        self._after = [self._with_path(box_texts.norm(stack.final_norm), "final_norm")] if stack.final_norm else []
        self.left = left
        self._branch_width = self._widest_branch()
        self.layout = Layout([], top, [])
        self.embedding: Box

    @property
    def width(self) -> float:
        """The width of the column."""
        return TRUNK_INDENT + BRANCH_INDENT + self._branch_width + FRAME_PADDING

    @property
    def trunk(self) -> float:
        """The x of the residual stream."""
        return self.left + TRUNK_INDENT

    def _path(self, group: Group) -> str:
        """Return the path of the first layer of a group, with a point."""
        return f"{self._model_stack.prefix}layers.{group.layer_indices[0]}."

    def _with_path(self, text: BoxText, name: str) -> BoxText:
        return structs.replace(text, path=f"{self._model_stack.prefix}{name}")

    def draw(self) -> None:
        """Add the shapes of the stack."""
        say, layout = self._say, self.layout
        tokens = "S" if self._model_stack.is_source else "T"
        label = say(msg("source token ids: B × S") if tokens == "S" else msg("token ids: B × T"))
        layout.shapes.append(Label(self.trunk + 10, layout.y + 12, label))
        self.embedding, *_ = [self.box(text) for text in self._before]
        width = exact(self._spec.d_model)
        layout.shapes.append(
            Label(self.trunk + 10, layout.y + 16, say(msg("B × {tokens} × {width}", tokens=tokens, width=width)))
        )
        layout.shapes.append(Wire(((self.trunk, layout.y), (self.trunk, layout.y + GAP)), has_arrow=False))
        layout.y += GAP
        for heading, branches in zip(self._headings, self._branches, strict=True):
            self._frame(heading, branches)
        if n_omitted := len(self._groups) - len(self._branches):
            self.box(BoxText(say(msg("… and {n} more kinds of layers", n=n_omitted))))
        for text in self._after:
            self.box(text)

    def box(self, text: BoxText) -> Box:
        """Add a box on the stream, as wide as the column."""
        layout = self.layout
        box = Box(self.left, layout.y + GAP, self.width, text.height, text)
        layout.shapes += [Wire(((self.trunk, layout.y), (self.trunk, box.y))), box]
        layout.y = box.bottom
        return box

    def _frame(self, heading: tuple[str, ...], branches: list[BranchTexts]) -> None:
        layout = self.layout
        top = layout.y + GAP
        begin = top + LINE * len(heading) + 10
        layout.y = begin + 6
        start = len(layout.shapes)
        for branch in branches:
            add_branch(branch, self.trunk, self._branch_width, layout)
        bottom = layout.y
        # The stream runs from above the frame to its end, below the boxes.
        layout.shapes.insert(start, Wire(((self.trunk, top - GAP), (self.trunk, bottom)), has_arrow=False))
        layout.shapes.append(Frame(self.left, top, self.width, bottom - top, heading, TRUNK_INDENT + 10))
        layout.y = bottom

    def _heading(self, group: Group) -> tuple[str, ...]:
        say, n, n_layers = self._say, len(group.layer_indices), self._stack.n_layers or 0
        name = say(msg("layer")) if group.name == "layers" else group.name
        if n == n_layers:
            first = say(msg("{n} × {name}", n=exact(n), name=name))
        else:
            indices = ranges(group.layer_indices)
            text = msg(
                "{n} of {all} × {name}: layers {turns}", n=exact(n), all=exact(n_layers), name=name, turns=indices
            )
            first = say(text)
        return (first, *self._shared(group))

    def _shared(self, group: Group) -> Iterator[str]:
        """Yield what the layers do with several streams, and what they share with each other and an earlier one."""
        say, shares, streams = self._say, group.layer.shares, self._stack.streams
        if streams is not None and (text := stream_implementation(streams, "layer_label")):
            yield text(streams, say)
        if group.layer.bottleneck is not None:
            yield from box_texts.bottleneck(group.layer.bottleneck, say)
        if shares is not None and shares.weights is not None:
            yield say(msg("with the weights of layer {layer}", layer=shares.weights))
        elif 1 < len(group.weight_indices) < len(group.layer_indices):
            yield say(msg("{n} sets of weights, used in turn", n=exact(len(group.weight_indices))))
        elif not group.own_weights and len(group.layer_indices) > 1:
            yield say(msg("all share one set of weights"))
        if shares is not None and shares.keys_values is not None:
            yield say(msg("keys and values of layer {layer}", layer=shares.keys_values))
        if shares is not None and shares.selection is not None:
            yield say(msg("selected keys of layer {layer}", layer=shares.selection))

    def _widest_branch(self) -> float:
        """Return the width of the widest branch, or more if a box or a heading needs it."""
        widths = [branch.width for branches in self._branches for branch in branches]
        column_widths = [text.width for text in (*self._before, *self._after, *self._outputs())]
        column_widths += [text_width(line) + TRUNK_INDENT + 20 for heading in self._headings for line in heading]
        return max([*widths, *(width - TRUNK_INDENT - BRANCH_INDENT - FRAME_PADDING for width in column_widths), 150.0])

    def _outputs(self) -> Iterator[BoxText]:
        """Yield the texts of the boxes that may follow the stack."""
        if self._spec.head:
            yield box_texts.head(self._spec, self._say)
        if self._spec.pooler:
            yield box_texts.pooler(self._spec.pooler, self._say)
        if self._stack.n_mtp:
            yield box_texts.prediction_modules(self._stack.n_mtp, self._say)


def _width(group: Group, spec: Spec) -> int:
    """Return the width of the branches of a group's layers."""
    return spec.d_model if group.layer.bottleneck is None else group.layer.bottleneck.d_bottleneck


def ranges(indices: tuple[int, ...]) -> str:
    """Return ranges of indices: (0, 1, 2, 4) → '0–2, 4'; of many ranges, the first ones."""
    runs = [[index for _, index in run] for _, run in groupby(enumerate(indices), lambda pair: pair[1] - pair[0])]
    texts = [str(run[0]) if len(run) == 1 else f"{run[0]}–{run[-1]}" for run in runs]
    return ", ".join(texts if len(texts) <= MAX_RANGES else [*texts[:MAX_RANGES], "…"])
