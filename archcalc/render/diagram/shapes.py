"""What a diagram is made of, and what each part of it looks like as SVG. Lengths are pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec
from markupsafe import escape

from archcalc.errors import printable
from archcalc.render.charts.frame import COMPONENT_COLORS, FONT

LINE: Final = 17
PADDING: Final = 9
# How wide a letter may be, at 13 px: bold ones are the widest; those of Chinese are as wide as high.
_LETTER, _WIDE = 7.6, 13.5

Point = tuple[float, float]


class Said(msgspec.Struct, frozen=True):
    """What stands in a box: a title, lines below it, and the component whose colour it has."""

    title: str
    lines: tuple[str, ...] = ()
    component: str = "other"

    @property
    def width(self) -> float:
        """The width that a box of it takes."""
        return max(map(text_width, (self.title, *self.lines))) + 2 * PADDING

    @property
    def height(self) -> float:
        """The height that a box of it takes."""
        return LINE * (1 + len(self.lines)) + 2 * PADDING - 4


class Box(msgspec.Struct, frozen=True):
    """A box and what stands in it."""

    x: float
    y: float
    width: float
    height: float
    said: Said

    @property
    def bottom(self) -> float:
        """Where it ends."""
        return self.y + self.height


class Frame(msgspec.Struct, frozen=True):
    """A dashed border around some boxes, and what is said at its top, `inset` from its left."""

    x: float
    y: float
    width: float
    height: float
    lines: tuple[str, ...]
    inset: float


class Wire(msgspec.Struct, frozen=True):
    """A line through points, an arrow at its end unless told otherwise."""

    points: tuple[Point, ...]
    has_arrow: bool = True
    is_dashed: bool = False


class Plus(msgspec.Struct, frozen=True):
    """Where two streams are added."""

    x: float
    y: float
    radius: float = 8


class Label(msgspec.Struct, frozen=True):
    """A text beside a wire."""

    x: float
    y: float
    text: str


Shape = Box | Frame | Wire | Plus | Label


def text_width(text: str) -> float:
    """No less than a text takes at 13 px."""
    return sum(_WIDE if ord(letter) > 0x2E7F else _LETTER for letter in text)


def as_svg(shapes: Iterable[Shape], width: float, height: float, title: str) -> str:
    """The shapes as one SVG element of this size: wires below boxes, colours by component, ink as the page's text."""
    drawn = sorted(shapes, key=lambda shape: _ORDER.index(type(shape)))
    inner = "".join(_DRAWN[type(shape)](shape) for shape in drawn)
    name = escape(printable(title))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{name}" width="{width:.0f}" '
        f'height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}" fill="currentColor" '
        f'style="min-width: {width:.0f}px" font-family="{escape(FONT)}" font-size="13">'
        f"<title>{name}</title>{inner}</svg>"
    )


def _box(box: Box) -> str:
    color = COMPONENT_COLORS.get(box.said.component, "#BBBBBB")
    middle = box.x + box.width / 2
    texts = "".join(
        _text(middle, box.y + PADDING + 10 + LINE * i, line, "middle", bold=i == 0)
        for i, line in enumerate((box.said.title, *box.said.lines))
    )
    return (
        f'<rect x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" height="{box.height:.1f}" rx="6" '
        f'fill="{color}" fill-opacity="0.22" stroke="{color}" stroke-width="1.5"/>{texts}'
    )


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
    """A triangle at the end of a wire's last stretch, which is level or upright."""
    (x, y), (tip_x, tip_y) = start, end
    along = (0 if tip_x == x else 1 if tip_x > x else -1, 0 if tip_y == y else 1 if tip_y > y else -1)
    back_x, back_y = tip_x - 7 * along[0], tip_y - 7 * along[1]
    side_x, side_y = 3.5 * along[1], 3.5 * along[0]
    corners = ((tip_x, tip_y), (back_x + side_x, back_y + side_y), (back_x - side_x, back_y - side_y))
    return f'<polygon points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in corners)}" fill-opacity="0.75"/>'


def _plus(plus: Plus) -> str:
    x, y, r = plus.x, plus.y, plus.radius
    arms = f"M{x - r + 3:.1f} {y:.1f}H{x + r - 3:.1f}M{x:.1f} {y - r + 3:.1f}V{y + r - 3:.1f}"
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r:.1f}" fill="#808080" fill-opacity="0.35" stroke="currentColor"/>'
        f'<path d="{arms}" fill="none" stroke="currentColor" stroke-width="1.5"/>'
    )


def _label(label: Label) -> str:
    return _text(label.x, label.y, label.text, "start", faint=True)


def _text(x: float, y: float, text: str, anchor: str, *, bold: bool = False, faint: bool = False) -> str:
    more = (' font-weight="600"' if bold else "") + (' fill-opacity="0.75"' if faint else "")
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{escape(printable(text))}</text>'


_ORDER: Final = (Frame, Wire, Box, Plus, Label)
_DRAWN: Final[dict[type, Callable[[Any], str]]] = {Frame: _frame, Wire: _wire, Box: _box, Plus: _plus, Label: _label}
