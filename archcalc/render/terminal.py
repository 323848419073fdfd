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
from archcalc.render.page import Page, Table, Text, cell_text

# A file or a pipe has no width, but endless lines cannot be read either.
PIPE_WIDTH = 180
# Of a terminal whose width is unknown.
DEFAULT_WIDTH = 80
MIN_WIDTH = 40
GAP = "  "
# A column of text may be wrapped to this, so that two of them fit the minimum width; in a split table, to its double.
MIN_TEXT_WIDTH = MIN_WIDTH // 2 - len(GAP)

# Where a line may break, in order of preference. A number is never broken. Chinese has no spaces: a line may break
# beside any of its characters, but does not begin with a closing mark, nor end with an opening one.
_WIDE, _OPENING, _CLOSING = "\u2e80-\u9fff\uff00-\uffef", "（《「『“(\\[", "，。、；：！？）》」』”,.;:!?)%\\]"
_BESIDE_WIDE = rf"(?<=[{_WIDE}])(?<![{_OPENING}])(?![{_CLOSING} ])|(?<![{_OPENING} ])(?=[{_WIDE}])(?![{_CLOSING}])"
# Compiled when first used: most output fits, and compiling takes as long as the report of a model.
_BREAKS = (rf" |{_BESIDE_WIDE}", r"(?<=[·/])|(?<=[.,])(?=\D)", r"(?<=[_-])")
_NUMBER = re.compile(r"\d[\d,.]*")


def width() -> int:
    """Return the width for output: that of a pipe; on a terminal $COLUMNS, or its own."""
    if sys.stdout is None or not sys.stdout.isatty():
        return PIPE_WIDTH
    stated = os.environ.get("COLUMNS", "")
    columns = int(stated) if stated.isdecimal() else os.get_terminal_size(sys.stdout.fileno()).columns
    return max(MIN_WIDTH, columns or DEFAULT_WIDTH)


def is_plain(color: bool) -> bool:
    """Return whether an option or $NO_COLOR turns off bold and dim."""
    return not color or bool(os.environ.get("NO_COLOR"))


def as_text(page: Page, width: int = PIPE_WIDTH) -> str:
    """Return the page in lines of at most `width`, unless a number is wider; bold and dim are ANSI codes."""
    first = [_printable(str(line)) for line in (page.title, page.answer) if line]
    lines = [_bold(piece) for line in first for piece in _wrap(line, width)]
    lines += [_dim(piece) for piece in _wrap(_printable(str(page.subtitle)), width) if piece]
    for block in page.blocks:
        if isinstance(block, Table) and block.rows:
            lines += ["", *_with_title(str(block.title), table_lines(block, width), width)]
        elif isinstance(block, Text):
            wrapped = [part for line in block.lines for part in _indented(_printable(str(line)), width)]
            lines += ["", *_with_title(str(block.title), wrapped, width)]
    return "\n".join(lines) + "\n"


def _bold(text: str) -> str:
    return click.style(text, bold=True)


def _dim(text: str) -> str:
    return click.style(text, dim=True)


def _printable(text: str) -> str:
    return text if text.isprintable() else printable(text)


def _with_title(title: str, lines: list[str], width: int) -> list[str]:
    return ([_bold(piece) for piece in _wrap(_printable(title), width)] if title else []) + lines


def table_lines(table: Table, width: int) -> list[str]:
    """Return headings, a rule, rows, and sums under another rule.

    If the table is too wide, columns of text are wrapped. If that is not enough, the columns are split into bands, one
    below the other, each with the first column.
    """
    cells = [
        [_printable(cell_text(column, value)) for column, value in zip(table.columns, row, strict=True)]
        for row in table.rows
    ]
    head = [_printable(str(column.heading)) for column in table.columns]
    by_column = list(zip(*cells, strict=True)) if cells else [()] * len(head)
    widths = [
        max(min(_text_width(heading), MIN_TEXT_WIDTH), *map(_text_width, column), 0)
        for heading, column in zip(head, by_column, strict=True)
    ]
    lines: list[str] = []
    for band in _bands(table, widths, width):
        right = [table.columns[i].is_right_aligned for i in band]
        band_widths = _fitted_widths([widths[i] for i in band], right, width)
        rows = ["\n".join(_row_lines([row[i] for i in band], band_widths, right)) for row in cells]
        rule = _dim((GAP + GAP.join("─" * w for w in band_widths)).rstrip())
        n_body = len(rows) - table.n_sums
        sums = [rule, *map(_bold, rows[n_body:])] if table.n_sums else []
        heading = [_bold(line) for line in _row_lines([head[i] for i in band], band_widths, right)]
        lines += [*([""] if lines else []), *heading, rule, *rows[:n_body], *sums]
    return lines


def _total_width(widths: Sequence[int]) -> int:
    return sum(widths) + len(GAP) * len(widths)


def _min_widths(widths: Sequence[int], right: Sequence[bool], width: int, words: int = MIN_TEXT_WIDTH) -> list[int]:
    """Return the minimum width of each column: text can be wrapped, the first column only beyond half of `width`."""
    least = [w if is_right else min(w, words) for w, is_right in zip(widths, right, strict=True)]
    return [min(widths[0], width // 2 - len(GAP)), *least[1:]]


def _bands(table: Table, widths: list[int], width: int) -> list[list[int]]:
    """Return the indices of the columns of each band; one band if all fit."""
    right = [column.is_right_aligned for column in table.columns]
    if _total_width(_min_widths(widths, right, width)) <= width:
        return [list(range(len(widths)))]
    comfortable = _min_widths(widths, right, width, 2 * MIN_TEXT_WIDTH)
    bands = [[0]]
    for group in _groups(table):
        if len(bands[-1]) > 1 and _total_width([comfortable[i] for i in (*bands[-1], *group)]) > width:
            bands.append([0])
        bands[-1] += group
    return bands


def _groups(table: Table) -> Iterator[list[int]]:
    """Yield the indices of columns that stay together, after the first: a number and its repetition."""
    group: list[int] = []
    for i, column in enumerate(table.columns[1:], start=1):
        if group and (column.heading or not column.is_derived):
            yield group
            group = []
        group.append(i)
    if group:
        yield group


def _fitted_widths(widths: list[int], right: list[bool], width: int) -> list[int]:
    """Return widths that fit: columns of text become narrower, the widest first and the first column last."""
    excess, least = _total_width(widths) - width, _min_widths(widths, right, width)
    narrowed = list(widths)
    for i in sorted(range(len(widths)), key=lambda i: (i == 0, -widths[i])):
        reduction = max(0, min(excess, widths[i] - least[i]))
        narrowed[i] -= reduction
        excess -= reduction
    return narrowed


def _row_lines(cells: Sequence[str], widths: list[int], right: list[bool]) -> list[str]:
    """Return a row's lines, more than one if a cell is wrapped."""
    parts = [_wrap(cell, w) for cell, w in zip(cells, widths, strict=True)]
    lines = []
    for k in range(max(map(len, parts))):
        placed = [
            _pad(part[k] if k < len(part) else "", w, is_right)
            for part, w, is_right in zip(parts, widths, right, strict=True)
        ]
        lines.append((GAP + GAP.join(placed)).rstrip())
    return lines


def _pad(text: str, width: int, right: bool) -> str:
    padding = " " * (width - _text_width(text))
    return padding + text if right else text + padding


def _indented(line: str, width: int) -> list[str]:
    first, *rest = _wrap(line, width - len(GAP) * 2)
    return [GAP + first, *(GAP * 2 + piece for piece in rest)]


def _wrap(text: str, width: int) -> list[str]:
    """Return the text in lines of at most `width`."""
    lines = []
    while _text_width(text) > width:
        cut = _break_position(text, width)
        lines.append(text[:cut].rstrip())
        text = text[cut:].lstrip()
    return [*lines, text] if text or not lines else lines


def _break_position(text: str, width: int) -> int:
    """Return where a text that is too wide is broken."""
    limit = _n_fitting(text, width)
    for pattern in _BREAKS:
        cuts = [found.start() for found in re.compile(pattern).finditer(text, 1, limit + 1) if found.start() <= limit]
        if cuts:
            return cuts[-1]
    number = next((found for found in _NUMBER.finditer(text) if found.start() < limit < found.end()), None)
    return limit if number is None else number.start() or number.end()


def _n_fitting(text: str, width: int) -> int:
    """Return how many characters fit into `width`; at least one."""
    if text.isascii():
        return max(1, width)
    used = 0
    for i, character in enumerate(text):
        used += _text_width(character)
        if used > width:
            return max(1, i)
    return len(text)


def _text_width(text: str) -> int:
    """Return the width of a text: East Asian characters take two columns, combining ones none."""
    if text.isascii() or max(text) < "\u0300":
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)
