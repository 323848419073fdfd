"""The diagram of an architecture, drawn from its spec as SVG."""

from __future__ import annotations

from msgspec import structs

from archcalc.render.diagram import box_texts
from archcalc.render.diagram.layer_layout import GAP
from archcalc.render.diagram.shapes import Label, Shape, Wire, as_svg
from archcalc.render.diagram.stack_column import StackColumn
from archcalc.spec import Spec
from archcalc.units import exact
from archcalc.words import ENGLISH, Translator, msg

# Around the diagram, and between two stacks.
MARGIN, STACK_GAP = 26, 60


def diagram(spec: Spec, say: Translator = ENGLISH) -> str:
    """Return the diagram of a resolved spec as an SVG element: every kind of layer once, with its sizes.

    An encoder is right of the decoder that reads it. Lines have the text color of the page, light or dark.
    """
    shapes, width, height = drawing(spec, say)
    return as_svg(shapes, width, height, say(msg("{name}: diagram of the layers", name=spec.label)))


def drawing(spec: Spec, say: Translator = ENGLISH) -> tuple[list[Shape], float, float]:
    """Return the shapes of a spec's diagram, its width and its height."""
    columns: dict[str, StackColumn] = {}
    left: float = MARGIN
    for stack in reversed(spec.stacks):
        columns[stack.role] = column = StackColumn(stack, left, MARGIN, say)
        column.draw()
        left += column.width + STACK_GAP
    if len(columns) == 2:
        _wire_source(columns["decoder"], columns["encoder"])
    last = next(iter(columns.values()))
    _add_head(spec, last, say)
    for column in columns.values():
        column.layout.y += GAP
    shapes = [shape for column in columns.values() for shape in column.layout.shapes]
    return shapes, left - STACK_GAP + MARGIN, max(column.layout.y for column in columns.values()) + MARGIN


def _add_head(spec: Spec, column: StackColumn, say: Translator) -> None:
    """Add the head and its output, and the modules of multi-token prediction."""
    layout, stack = column.layout, spec.decoder
    output = _output(spec, say)
    if spec.pooler:
        column.box(structs.replace(box_texts.pooler(spec.pooler, say), path="pooled"))
    if spec.head:
        head = column.box(structs.replace(box_texts.head(spec, say), path="logits"))
        if spec.head.tied:
            x = MARGIN / 2
            from_y, to_y = column.embedding.y + 20, head.y + head.height / 2
            points = ((head.x, from_y), (x, from_y), (x, to_y), (head.x, to_y))
            layout.shapes.append(Wire(points, is_dashed=True))
    layout.shapes += [
        Wire(((column.trunk, layout.y), (column.trunk, layout.y + GAP))),
        Label(column.trunk + 10, layout.y + 16, output),
    ]
    layout.y += GAP
    if stack is not None and stack.n_mtp:
        column.box(box_texts.prediction_modules(stack.n_mtp, say))


def _output(spec: Spec, say: Translator) -> str:
    """Return the name of the output, and its axes."""
    axes = "B" if spec.reads_text else "B × T"
    if spec.head is None:
        return say(msg("states: {axes} × {width}", axes=axes, width=exact(spec.d_model)))
    labels = spec.head.labels
    return say(msg("logits: {axes} × {vocab}", axes=axes, vocab=exact(labels.n_labels if labels else spec.n_scored)))


def _wire_source(decoder: StackColumn, encoder: StackColumn) -> None:
    """Add the wires from the encoder's last state to every box that reads it."""
    end = encoder.layout.y + GAP
    x = encoder.left - STACK_GAP / 2
    for box in decoder.layout.readers:
        y = box.y + box.height / 2
        points = ((encoder.trunk, end - GAP), (encoder.trunk, end), (x, end), (x, y), (box.x + box.width, y))
        encoder.layout.shapes.append(Wire(points, is_dashed=True))
