"""Blocks and charts that are written in English, in the language of a reader: by sentences of a catalogue."""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, TypeVar

from archcalc.render.lang.pages import WORDS
from archcalc.render.page import Column, Table, Text
from archcalc.words import Translator

B = TypeVar("B", Table, Text)


def block_in(block: B, say: Translator) -> B:
    """A block with its title, headings, cells of words and lines in the language of `say`; numbers as they are."""
    return block if say.lang == "en" else _BLOCKS[type(block)](block)


def chart_in(chart: dict[str, Any], say: Translator) -> dict[str, Any]:
    """The chart with its titles and those of its axes in the language of `say`."""
    return chart if say.lang == "en" else {key: _within(key, value) for key, value in chart.items()}


@cache
def said(text: str) -> str:
    """A sentence in Chinese; as it is where the catalogue has none that fits."""
    if (found := WORDS.get(text)) is not None:
        return found[1]
    for pattern, chinese in _patterns():
        if (match := pattern.fullmatch(text)) is not None:
            return chinese.format(**{name: said(value) for name, value in match.groupdict().items()})
    return text


@cache
def _patterns() -> list[tuple[re.Pattern[str], str]]:
    """The sentences with places, in the catalogue's order."""
    return [(re.compile(_pattern(english)), chinese) for english, chinese in WORDS.values() if "{" in english]


def _pattern(english: str) -> str:
    parts = string.Formatter().parse(english)
    return "".join(re.escape(text) + (f"(?P<{name}>.+?)" if name else "") for text, name, _, _ in parts)


def _text(block: Text) -> Text:
    return Text(said(block.title), [said(line) for line in block.lines])


def _table(block: Table) -> Table:
    columns = tuple(Column(said(column.heading), column.kind) for column in block.columns)
    return Table(said(block.title), columns, [_row(block.columns, row) for row in block.rows], block.n_sums)


def _row(columns: Sequence[Column], row: Sequence[Any]) -> list[Any]:
    return [
        said(value) if isinstance(value, str) and column.kind in ("text", "words") else value
        for column, value in zip(columns, row, strict=True)
    ]


_BLOCKS: dict[type, Callable[[Any], Any]] = {Text: _text, Table: _table}
# Where a chart says something; what is drawn as text in it is data.
_TITLES = ("title", "text", "subtitle")


def _within(key: str, value: Any) -> Any:
    if isinstance(value, dict):
        return {inner: _within(inner, one) for inner, one in value.items()}
    if isinstance(value, list | tuple):
        return [_within(key, one) for one in value]
    return said(value) if isinstance(value, str) and key in _TITLES else value
