"""A page as data: tables of values and lines of text.

Each format decides how a value is printed, and in which language messages are (`archcalc.words`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from archcalc.results import CellKind
from archcalc.units import exact, human, ranges, vector
from archcalc.words import Bytes, Message

_PARENTHESES = re.compile(r"\([^()]*\)")
# Of a full bar, in characters.
BAR_WIDTH = 20


class Column(msgspec.Struct, frozen=True):
    """A column's heading, and how its cells are printed."""

    heading: str | Message
    kind: CellKind = "text"

    @property
    def is_right_aligned(self) -> bool:
        """Return whether its cells are aligned right, as numbers are."""
        return self.kind not in ("text", "quoted", "value", "product", "vector", "ranges", "bar")

    @property
    def is_derived(self) -> bool:
        """Return whether it only repeats the number of the column before it, rounded or as a bar."""
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


class TreemapBox(msgspec.Struct, frozen=True):
    """A rectangle of a treemap: its label, its size, and the component that it belongs to."""

    label: str
    value: int
    family: str


class Treemap(msgspec.Struct, frozen=True):
    """Areas in proportion to values; only HTML shows it."""

    title: str | Message
    boxes: Sequence[TreemapBox]


class Picture(msgspec.Struct, frozen=True):
    """A drawing as an SVG element that this package made; only HTML shows it."""

    title: str | Message
    svg: str


Block = Table | Text | Treemap | Picture


class Page(msgspec.Struct, frozen=True):
    """The output of one command, and its language. `answer` is the line that most readers look for."""

    title: str | Message
    subtitle: str | Message = ""
    blocks: Sequence[Block] = ()
    lang: str = "en"
    answer: str | Message = ""


def _human(value: int | str | Bytes) -> str:
    return human(value) if isinstance(value, int) else str(value)


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
    """Return a number with four decimals, or with its power of ten if they would all be 0; a text stays."""
    if isinstance(value, str):
        return value
    return f"{value + 0.0:.4f}" if abs(value) >= 1e-4 or value == 0 else f"{value:.1e}"


def _bar(share: float) -> str:
    """Return a share of 1 as a bar, to an eighth of a character."""
    whole, eighths = divmod(round(share * BAR_WIDTH * 8), 8)
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


def cell_text(column: Column, value: Any) -> str:
    """Return a cell as people read it."""
    return "" if value is None else _FORMATS[column.kind](value)
