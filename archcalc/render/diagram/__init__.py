"""The diagram of an architecture, drawn from its spec as SVG."""

from __future__ import annotations

from archcalc.render.diagram import said
from archcalc.render.diagram.layers import GAP
from archcalc.render.diagram.shapes import Label, Said, Shape, Wire, as_svg
from archcalc.render.diagram.stacks import Column
from archcalc.spec import Spec
from archcalc.units import exact
from archcalc.words import ENGLISH, Translator, msg

# Around all, and between two stacks.
MARGIN, BETWEEN = 26, 60


def diagram(spec: Spec, say: Translator = ENGLISH) -> str:
    """A resolved spec as an SVG element, of its own size in pixels: every kind of layer once, sizes in words.

    An encoder stands right of the decoder that reads it. Ink is the page's own colour, so that it fits either ground.
    """
    shapes, width, height = drawing(spec, say)
    return as_svg(shapes, width, height, say(msg("{name}: its layers, as the spec says them", name=spec.label)))


def drawing(spec: Spec, say: Translator = ENGLISH) -> tuple[list[Shape], float, float]:
    """The shapes of a spec's diagram, and the width and height that they take."""
    columns: dict[str, Column] = {}
    left: float = MARGIN
    for each in reversed(spec.stacks):
        columns[each.role] = column = Column(each, left, MARGIN, say)
        column.draw()
        left += column.width + BETWEEN
    if len(columns) == 2:
        _reads(columns["decoder"], columns["encoder"])
    last = next(iter(columns.values()))
    _end(spec, last, say)
    for column in columns.values():
        column.placed.y += GAP
    shapes = [shape for column in columns.values() for shape in column.placed.shapes]
    return shapes, left - BETWEEN + MARGIN, max(column.placed.y for column in columns.values()) + MARGIN


def _end(spec: Spec, column: Column, say: Translator) -> None:
    """Head and logits, or the states themselves; further tokens' modules."""
    at, stack = column.placed, spec.decoder
    words = _ends(spec, say)
    if spec.pooler:
        column.box(said.pooler(spec.pooler, say))
    if spec.head:
        head = column.box(said.head(spec, say))
        if spec.head.tied:
            x = MARGIN / 2
            from_y, to_y = column.embedding.y + 20, head.y + head.height / 2
            way = ((head.x, from_y), (x, from_y), (x, to_y), (head.x, to_y))
            at.shapes.append(Wire(way, is_dashed=True))
    at.shapes += [Wire(((column.trunk, at.y), (column.trunk, at.y + GAP))), Label(column.trunk + 10, at.y + 16, words)]
    at.y += GAP
    if stack is not None and stack.n_mtp:
        column.box(Said(say(msg("{n} × module for a further token", n=stack.n_mtp))))


def _ends(spec: Spec, say: Translator) -> str:
    """What the model gives, and its axes."""
    axes = "B" if spec.reads_text else "B × T"
    if spec.head is None:
        return say(msg("states: {axes} × {width}", axes=axes, width=exact(spec.d_model)))
    labels = spec.head.labels
    return say(msg("logits: {axes} × {vocab}", axes=axes, vocab=exact(labels.n_labels if labels else spec.vocab_size)))


def _reads(decoder: Column, encoder: Column) -> None:
    """The encoder's last state, up between the stacks and into every box that reads it."""
    end = encoder.placed.y + GAP
    x = encoder.left - BETWEEN / 2
    for box in decoder.placed.reads:
        y = box.y + box.height / 2
        way = ((encoder.trunk, end - GAP), (encoder.trunk, end), (x, end), (x, y), (box.x + box.width, y))
        encoder.placed.shapes.append(Wire(way, is_dashed=True))
