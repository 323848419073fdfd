"""Pages as text for a terminal.

Written here rather than with a table library: rich would add a third to a report's start-up.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence

import click

from archcalc.errors import printable
from archcalc.render.page import Page, Table, Text, shown

# Where output goes to a file or a pipe there is no width to keep to, but lines without end are no use either.
PIPE_WIDTH = 180
# A terminal that does not say how wide it is.
USUAL_WIDTH = 80
LEAST_WIDTH = 40
GAP = "  "
# A column of words may fold to this, so that two of them fit the least width; in a split table, to the double.
WORDS = LEAST_WIDTH // 2 - len(GAP)

# Where a word too long for its line may break, in order of preference. A number is never broken.
# Chinese has no spaces: a line may break beside any of its characters, but begins with no mark that closes what stands
# before it, and ends with none that opens what follows.
_WIDE, _OPENING, _CLOSING = "\u2e80-\u9fff\uff00-\uffef", "（《「『“(\\[", "，。、；：！？）》」』”,.;:!?)%\\]"
_BESIDE_WIDE = rf"(?<=[{_WIDE}])(?<![{_OPENING}])(?![{_CLOSING} ])|(?<![{_OPENING} ])(?=[{_WIDE}])(?![{_CLOSING}])"
_BREAKS = tuple(map(re.compile, (rf" |{_BESIDE_WIDE}", r"(?<=[·/])|(?<=[.,])(?=\D)", r"(?<=[_-])")))
_NUMBER = re.compile(r"\d[\d,.]*")


def width() -> int:
    """Columns to keep to: a pipe's; on a terminal $COLUMNS, or what it says itself."""
    if sys.stdout is None or not sys.stdout.isatty():
        return PIPE_WIDTH
    stated = os.environ.get("COLUMNS", "")
    found = int(stated) if stated.isdecimal() else os.get_terminal_size(sys.stdout.fileno()).columns
    return max(LEAST_WIDTH, found or USUAL_WIDTH)


def is_plain(color: bool) -> bool:
    """Whether bold and dim are not wanted: by an option, or by $NO_COLOR."""
    return not color or bool(os.environ.get("NO_COLOR"))


def as_text(page: Page, width: int = PIPE_WIDTH) -> str:
    """The page in lines no wider than `width`, but for a number that is; bold and dim as ANSI codes."""
    lines = [_bold(piece) for piece in _pieces(_clean(str(page.title)), width)]
    lines += [_dim(piece) for piece in _pieces(_clean(str(page.subtitle)), width) if piece]
    for block in page.blocks:
        if isinstance(block, Table) and block.rows:
            lines += ["", *_titled(str(block.title), table_lines(block, width), width)]
        elif isinstance(block, Text):
            folded = [part for line in block.lines for part in _folded(_clean(str(line)), width)]
            lines += ["", *_titled(str(block.title), folded, width)]
    return "\n".join(lines) + "\n"


def _bold(text: str) -> str:
    return click.style(text, bold=True)


def _dim(text: str) -> str:
    return click.style(text, dim=True)


def _clean(text: str) -> str:
    return text if text.isprintable() else printable(text)


def _titled(title: str, lines: list[str], width: int) -> list[str]:
    return ([_bold(piece) for piece in _pieces(_clean(title), width)] if title else []) + lines


def table_lines(table: Table, width: int) -> list[str]:
    """Headings, a rule, rows, and sums under another rule.

    What does not fit folds its columns of words. Where that is not enough, the columns stand in bands, one under the
    other, each with the first column, which says what a row is.
    """
    cells = [
        [_clean(shown(column, value)) for column, value in zip(table.columns, row, strict=True)] for row in table.rows
    ]
    head = [_clean(str(column.heading)) for column in table.columns]
    by_column = list(zip(*cells, strict=True)) if cells else [()] * len(head)
    widths = [
        max(min(_columns(heading), WORDS), *map(_columns, column), 0)
        for heading, column in zip(head, by_column, strict=True)
    ]
    lines: list[str] = []
    for chosen in _bands(table, widths, width):
        right = [table.columns[i].right for i in chosen]
        fitted = _narrowed([widths[i] for i in chosen], right, width)
        rows = ["\n".join(_row([row[i] for i in chosen], fitted, right)) for row in cells]
        rule = _dim((GAP + GAP.join("─" * w for w in fitted)).rstrip())
        n_body = len(rows) - table.n_sums
        sums = [rule, *map(_bold, rows[n_body:])] if table.n_sums else []
        heading = [_bold(line) for line in _row([head[i] for i in chosen], fitted, right)]
        lines += [*([""] if lines else []), *heading, rule, *rows[:n_body], *sums]
    return lines


def _span(widths: Sequence[int]) -> int:
    return sum(widths) + len(GAP) * len(widths)


def _least(widths: Sequence[int], right: Sequence[bool], width: int, words: int = WORDS) -> list[int]:
    """To what columns may fold: those of words, the first only where it takes more than half."""
    least = [w if is_right else min(w, words) for w, is_right in zip(widths, right, strict=True)]
    return [min(widths[0], width // 2 - len(GAP)), *least[1:]]


def _bands(table: Table, widths: list[int], width: int) -> list[list[int]]:
    """The columns that stand side by side, by index: all of them if they fit."""
    right = [column.right for column in table.columns]
    if _span(_least(widths, right, width)) <= width:
        return [list(range(len(widths)))]
    roomy = _least(widths, right, width, 2 * WORDS)
    bands = [[0]]
    for group in _groups(table):
        if len(bands[-1]) > 1 and _span([roomy[i] for i in (*bands[-1], *group)]) > width:
            bands.append([0])
        bands[-1] += group
    return bands


def _groups(table: Table) -> Iterator[list[int]]:
    """The columns after the first, each number with what says it in words or as a bar and has no heading."""
    group: list[int] = []
    for i, column in enumerate(table.columns[1:], start=1):
        if group and (column.heading or not column.says_another):
            yield group
            group = []
        group.append(i)
    if group:
        yield group


def _narrowed(widths: list[int], right: list[bool], width: int) -> list[int]:
    """What is too wide taken from the columns of words, the widest first and the first column last."""
    over, least = _span(widths) - width, _least(widths, right, width)
    narrowed = list(widths)
    for i in sorted(range(len(widths)), key=lambda i: (i == 0, -widths[i])):
        taken = max(0, min(over, widths[i] - least[i]))
        narrowed[i] -= taken
        over -= taken
    return narrowed


def _row(cells: Sequence[str], widths: list[int], right: list[bool]) -> list[str]:
    """A row's lines: more than one where a cell folds."""
    parts = [_pieces(cell, w) for cell, w in zip(cells, widths, strict=True)]
    lines = []
    for k in range(max(map(len, parts))):
        placed = [
            _padded(part[k] if k < len(part) else "", w, is_right)
            for part, w, is_right in zip(parts, widths, right, strict=True)
        ]
        lines.append((GAP + GAP.join(placed)).rstrip())
    return lines


def _padded(text: str, width: int, right: bool) -> str:
    room = " " * (width - _columns(text))
    return room + text if right else text + room


def _folded(line: str, width: int) -> list[str]:
    first, *rest = _pieces(line, width - len(GAP) * 2)
    return [GAP + first, *(GAP * 2 + piece for piece in rest)]


def _pieces(text: str, width: int) -> list[str]:
    """The text in pieces no wider than `width`, cut where it reads best."""
    pieces = []
    while _columns(text) > width:
        cut = _cut(text, width)
        pieces.append(text[:cut].rstrip())
        text = text[cut:].lstrip()
    return [*pieces, text] if text or not pieces else pieces


def _cut(text: str, width: int) -> int:
    """Where to cut a text that is too wide."""
    most = _fitting(text, width)
    for pattern in _BREAKS:
        cuts = [found.start() for found in pattern.finditer(text, 1, most + 1) if found.start() <= most]
        if cuts:
            return cuts[-1]
    number = next((found for found in _NUMBER.finditer(text) if found.start() < most < found.end()), None)
    return most if number is None else number.start() or number.end()


def _fitting(text: str, width: int) -> int:
    """How many characters take no more columns than `width`; at least one."""
    if text.isascii():
        return max(1, width)
    taken = 0
    for i, character in enumerate(text):
        taken += _columns(character)
        if taken > width:
            return max(1, i)
    return len(text)


def _columns(text: str) -> int:
    """Columns that a text takes: East Asian characters take two, combining ones none."""
    if text.isascii() or max(text) < "\u0300":
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)
