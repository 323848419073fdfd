"""A page as data: tables of raw values and lines of text, messages or plain. Each way of printing decides how a value
looks, and in which language (`archcalc.words`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from archcalc.results import CellKind
from archcalc.units import exact, human, ranges, vector
from archcalc.words import Message

_PARENTHESES = re.compile(r"\([^()]*\)")
# Columns that a full bar takes.
BAR = 20


class Column(msgspec.Struct, frozen=True):
    """A column's heading, and what its values are."""

    heading: str | Message
    kind: CellKind = "text"

    @property
    def right(self) -> bool:
        """Whether it lines up on the right, as numbers do."""
        return self.kind not in ("text", "quoted", "value", "product", "vector", "ranges", "bar")

    @property
    def says_another(self) -> bool:
        """Whether it only shows another column's number in words, or as a bar."""
        return self.kind in ("human", "bar")


class Records(msgspec.Struct, frozen=True):
    """Rows by the names of their fields, those without a column included."""

    names: Sequence[str]
    rows: Sequence[Mapping[str, Any]]


class Table(msgspec.Struct, frozen=True):
    """Rows of raw values under columns. None is an empty cell; the last `n_sums` rows are sums. CSV has the records."""

    title: str | Message
    columns: tuple[Column, ...]
    rows: Sequence[Sequence[Any]]
    n_sums: int = 0
    records: Records | None = None


class Text(msgspec.Struct, frozen=True):
    """Lines under a heading."""

    title: str | Message
    lines: Sequence[str | Message]


class Box(msgspec.Struct, frozen=True):
    """A rectangle of a treemap: what it stands for, its size, what it belongs to."""

    label: str
    value: int
    family: str


class Treemap(msgspec.Struct, frozen=True):
    """Areas in proportion to values; only pages that can draw show it."""

    title: str | Message
    boxes: Sequence[Box]


class Picture(msgspec.Struct, frozen=True):
    """A drawing as an SVG element of our own making; only pages that can draw show it."""

    title: str | Message
    svg: str


Block = Table | Text | Treemap | Picture


class Page(msgspec.Struct, frozen=True):
    """What one command shows, and the language that it speaks."""

    title: str | Message
    subtitle: str | Message = ""
    blocks: Sequence[Block] = ()
    lang: str = "en"


def _human(value: int | str) -> str:
    return value if isinstance(value, str) else human(value)


def _signed(value: int) -> str:
    return f"{value:+,}" if value else "0"


def _percent(value: float) -> str:
    return f"{100 * value:.2f} %"


def _change(value: float) -> str:
    if not value:
        return "0 %"
    return f"{100 * value:+.2f} %" if abs(value) < 10 else f"× {1 + value:,.1f}"


def _seconds(value: float) -> str:
    return f"{value:.2f} s"


def _decimal(value: float | str) -> str:
    """Four digits after the point; what they would not show, by its power of ten. Words for want of a number stay."""
    if isinstance(value, str):
        return value
    return f"{value + 0.0:.4f}" if abs(value) >= 1e-4 or value == 0 else f"{value:.1e}"


def _bar(share: float) -> str:
    """A share of 1 as a bar, to an eighth of a column."""
    whole, eighths = divmod(round(share * BAR * 8), 8)
    return "█" * whole + (" ▏▎▍▌▋▊▉"[eighths] if eighths else "")


def _value(value: Any) -> str:
    """A field's value as a file would say it."""
    import json

    return value if isinstance(value, str) else json.dumps(value)


def _product(factors: Sequence[Any]) -> str:
    """Factors with '×' between them, sums in parentheses."""
    return " × ".join(f"({factor})" if " " in _PARENTHESES.sub("", factor) else factor for factor in map(str, factors))


_FORMATS: dict[CellKind, Callable[[Any], str]] = {
    "text": str,
    "quoted": repr,
    "words": str,
    "value": _value,
    "product": _product,
    "vector": vector,
    "ranges": ranges,
    "count": exact,
    "human": _human,
    "percent": _percent,
    "seconds": _seconds,
    "signed": _signed,
    "change": _change,
    "decimal": _decimal,
    "bar": _bar,
}


def shown(column: Column, value: Any) -> str:
    """A cell as people read it."""
    return "" if value is None else _FORMATS[column.kind](value)
