"""Pages as CSV and Markdown."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from itertools import compress
from typing import Any, Final

import msgspec

from archcalc.errors import printable
from archcalc.render.page import Page, Table, Text, cell_text
from archcalc.results import plain
from archcalc.words import Message

# Fields whose lists are the factors of a product.
_FACTORS: Final = ("shape", "axes")


def as_csv(page: Page) -> str:
    """Return the page's first table: raw values, exact, under the names of the fields. Shares are fractions of 1."""
    table = next(block for block in page.blocks if isinstance(block, Table))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    if table.records is not None:
        writer.writerow(map(_raw, table.records.names))
        writer.writerows([_raw(row.get(name), name) for name in table.records.names] for row in table.records.rows)
        return out.getvalue()
    is_own = [not column.is_derived for column in table.columns]
    writer.writerow(_raw(str(column.heading)) for column in compress(table.columns, is_own))
    writer.writerows(map(_raw, compress(row, is_own)) for row in table.rows)
    return out.getvalue()


def _raw(value: Any, field: str = "") -> Any:
    """Return the value of a field; the control characters of a text are escaped, which few readers of CSV survive."""
    if isinstance(value, tuple | list):
        value = _joined(value, " × " if field.endswith(_FACTORS) else "; ")
    return printable(str(value)) if isinstance(value, str | Message) else value


def _joined(values: Sequence[Any], separator: str) -> str:
    """Return a list as text; records as JSON."""
    if values and isinstance(values[0], msgspec.Struct):
        import json

        return json.dumps(plain(values), ensure_ascii=False)
    return separator.join(map(str, values))


def as_markdown(page: Page) -> str:
    """Return the page as Markdown."""
    parts = [f"# {_escaped(str(page.title))}"]
    if page.answer:
        parts.append(f"**{_escaped(str(page.answer))}**")
    if page.subtitle:
        parts.append(_escaped(str(page.subtitle)))
    for block in page.blocks:
        if isinstance(block, Table):
            parts += ([f"## {_escaped(str(block.title))}"] if block.title else []) + [_markdown_table(block)]
        elif isinstance(block, Text):
            lines = "\n".join(f"- {_escaped(str(line))}" for line in block.lines)
            parts += ([f"## {_escaped(str(block.title))}"] if block.title else []) + [lines]
    return "\n\n".join(parts) + "\n"


def _markdown_table(table: Table) -> str:
    lines = [
        [str(column.heading) for column in table.columns],
        ["---:" if column.is_right_aligned else "---" for column in table.columns],
        *([cell_text(column, value) for column, value in zip(table.columns, row, strict=True)] for row in table.rows),
    ]
    return "\n".join("| " + " | ".join(map(_escaped, line)) + " |" for line in lines)


def _escaped(text: str) -> str:
    """Return text that Markdown shows as it is, on one line."""
    return re.sub(r"[\\|*`]", r"\\\g<0>", printable(text)).replace("<", "&lt;")


def visible(text: str) -> str:
    """Return a token's text with whitespace visible: '␣' for a space, '⏎' for the end of a line, '⇥' for a tab."""
    return printable(text.translate({32: "␣", 10: "⏎", 9: "⇥"}))
