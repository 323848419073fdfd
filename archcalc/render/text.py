"""Pages as CSV and Markdown."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from itertools import compress
from typing import Any

import msgspec

from archcalc.errors import printable
from archcalc.render.page import Page, Table, Text, shown
from archcalc.results import plain
from archcalc.words import Message


def as_csv(page: Page) -> str:
    """Return the page's first table: raw values, exact, under the names of the fields. Shares are fractions of 1."""
    table = next(block for block in page.blocks if isinstance(block, Table))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    if table.records is not None:
        writer.writerow(map(_raw, table.records.names))
        writer.writerows([_raw(row.get(name)) for name in table.records.names] for row in table.records.rows)
        return out.getvalue()
    kept = [not column.says_another for column in table.columns]
    writer.writerow(_raw(str(column.heading)) for column in compress(table.columns, kept))
    writer.writerows(map(_raw, compress(row, kept)) for row in table.rows)
    return out.getvalue()


def _raw(value: Any) -> Any:
    """Return the value; of a text, control characters escaped, which few readers of CSV survive."""
    if isinstance(value, tuple | list):
        value = _joined(value)
    return printable(str(value)) if isinstance(value, str | Message) else value


def _joined(values: Sequence[Any]) -> str:
    """Return sizes with '×' between them; records as JSON."""
    if values and isinstance(values[0], msgspec.Struct):
        import json

        return json.dumps(plain(values), ensure_ascii=False)
    return " × ".join(map(str, values))


def as_markdown(page: Page) -> str:
    """The page with its tables in pipes."""
    parts = [f"# {_escaped(str(page.title))}"]
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
        ["---:" if column.right else "---" for column in table.columns],
        *([shown(column, value) for column, value in zip(table.columns, row, strict=True)] for row in table.rows),
    ]
    return "\n".join("| " + " | ".join(map(_escaped, line)) + " |" for line in lines)


def _escaped(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return re.sub(r"[\\|*`]", r"\\\g<0>", printable(text)).replace("<", "&lt;")


def visible(text: str) -> str:
    """A token's text with what is not seen made visible: '␣' for a space, '⏎' for a line's end, '⇥' for a tab."""
    return printable(text.translate({32: "␣", 10: "⏎", 9: "⇥"}))
