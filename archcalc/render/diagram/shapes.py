"""The shapes of a diagram, and how they are drawn as SVG. Lengths are pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec
from markupsafe import escape

from archcalc.errors import printable
from archcalc.render.charts.frame import COMPONENT_COLORS, FONT

LINE: Final = 17
PADDING: Final = 9
# The width of a bold letter, and of a Chinese character, at 13 px.
_LETTER_WIDTH, _CHARACTER_WIDTH = 7.6, 13.5

Point = tuple[float, float]


class BoxText(msgspec.Struct, frozen=True):
    """The text of a box: a title, lines below it, the component that gives the color, and the path of what it shows."""

    title: str
    lines: tuple[str, ...] = ()
    component: str = "other"
    path: str = ""

    @property
    def width(self) -> float:
        """The width of a box with this text."""
        return max(map(text_width, (self.title, *self.lines))) + 2 * PADDING

    @property
    def height(self) -> float:
        """The height of a box with this text."""
        return LINE * (1 + len(self.lines)) + 2 * PADDING - 4


class Box(msgspec.Struct, frozen=True):
    """A box and its text."""

    x: float
    y: float
    width: float
    height: float
    text: BoxText

    @property
    def bottom(self) -> float:
        """The y of its lower edge."""
        return self.y + self.height


class Frame(msgspec.Struct, frozen=True):
    """A dashed border around boxes; its lines of text begin `inset` from the left."""

    x: float
    y: float
    width: float
    height: float
    lines: tuple[str, ...]
    inset: float


class Wire(msgspec.Struct, frozen=True):
    """A line through points, with an arrow at its end."""

    points: tuple[Point, ...]
    has_arrow: bool = True
    is_dashed: bool = False


class Plus(msgspec.Struct, frozen=True):
    """A sum on the residual stream."""

    x: float
    y: float
    radius: float = 8
    path: str = ""


class Label(msgspec.Struct, frozen=True):
    """A text beside a wire."""

    x: float
    y: float
    text: str


Shape = Box | Frame | Wire | Plus | Label


def text_width(text: str) -> float:
    """Return an upper bound of the width of a text at 13 px."""
    return sum(_CHARACTER_WIDTH if ord(letter) > 0x2E7F else _LETTER_WIDTH for letter in text)


def as_svg(shapes: Iterable[Shape], width: float, height: float, title: str) -> str:
    """Return the shapes as an SVG element, wires below boxes, lines in the text color of the page."""
    ordered = sorted(shapes, key=lambda shape: _ORDER.index(type(shape)))
    inner = "".join(_DRAWERS[type(shape)](shape) for shape in ordered)
    name = escape(printable(title))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{name}" width="{width:.0f}" '
        f'height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}" fill="currentColor" '
        f'style="min-width: {width:.0f}px" font-family="{escape(FONT)}" font-size="13">'
        f"<title>{name}</title>{inner}</svg>"
    )


def _box(box: Box) -> str:
    color = COMPONENT_COLORS.get(box.text.component, "#BBBBBB")
    middle = box.x + box.width / 2
    texts = "".join(
        _text(middle, box.y + PADDING + 10 + LINE * i, line, "middle", bold=i == 0)
        for i, line in enumerate((box.text.title, *box.text.lines))
    )
    return _part(
        box.text.path,
        f'<rect x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" height="{box.height:.1f}" rx="6" '
        f'fill="{color}" fill-opacity="0.22" stroke="{color}" stroke-width="1.5"/>{texts}',
    )


def _part(path: str, svg: str) -> str:
    """Return what is drawn for a part of the model, under its path if it has one."""
    return f'<g data-path="{escape(path)}">{svg}</g>' if path else svg


def _frame(frame: Frame) -> str:
    texts = "".join(
        _text(frame.x + frame.inset, frame.y + 18 + LINE * i, line, "start", bold=i == 0)
        for i, line in enumerate(frame.lines)
    )
    return (
        f'<rect x="{frame.x:.1f}" y="{frame.y:.1f}" width="{frame.width:.1f}" height="{frame.height:.1f}" rx="10" '
        f'fill="none" stroke="currentColor" stroke-opacity="0.45" stroke-dasharray="5 4"/>{texts}'
    )


def _wire(wire: Wire) -> str:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in wire.points)
    dashed = ' stroke-dasharray="4 4"' if wire.is_dashed else ""
    line = f'<polyline points="{points}" fill="none" stroke="currentColor" stroke-opacity="0.65"{dashed}/>'
    return line + (_head(*wire.points[-2:]) if wire.has_arrow else "")


def _head(start: Point, end: Point) -> str:
    """Return the arrowhead of a wire whose last segment is horizontal or vertical."""
    (x, y), (tip_x, tip_y) = start, end
    direction = (0 if tip_x == x else 1 if tip_x > x else -1, 0 if tip_y == y else 1 if tip_y > y else -1)
    back_x, back_y = tip_x - 7 * direction[0], tip_y - 7 * direction[1]
    side_x, side_y = 3.5 * direction[1], 3.5 * direction[0]
    corners = ((tip_x, tip_y), (back_x + side_x, back_y + side_y), (back_x - side_x, back_y - side_y))
    return f'<polygon points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in corners)}" fill-opacity="0.75"/>'


def _plus(plus: Plus) -> str:
    x, y, r = plus.x, plus.y, plus.radius
    arms = f"M{x - r + 3:.1f} {y:.1f}H{x + r - 3:.1f}M{x:.1f} {y - r + 3:.1f}V{y + r - 3:.1f}"
    return _part(
        plus.path,
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r:.1f}" fill="#808080" fill-opacity="0.35" stroke="currentColor"/>'
        f'<path d="{arms}" fill="none" stroke="currentColor" stroke-width="1.5"/>',
    )


def _label(label: Label) -> str:
    return _text(label.x, label.y, label.text, "start", faint=True)


def _text(x: float, y: float, text: str, anchor: str, *, bold: bool = False, faint: bool = False) -> str:
    attributes = (' font-weight="600"' if bold else "") + (' fill-opacity="0.75"' if faint else "")
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{attributes}>{escape(printable(text))}</text>'


_ORDER: Final = (Frame, Wire, Box, Plus, Label)
_DRAWERS: Final[dict[type, Callable[[Any], str]]] = {Frame: _frame, Wire: _wire, Box: _box, Plus: _plus, Label: _label}
