"""A grid of figures as data: rows × columns, for tables, heat maps in HTML, and plots."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from archcalc.words import Message

Values = tuple[tuple[float | None, ...], ...]


class Grid(msgspec.Struct, frozen=True, kw_only=True):
    """Figures by row and column; `values` has a grid of numbers for each name, None where there is none.

    `texts`, if any, are what a cell shows in full.
    """

    title: str | Message
    row_title: str | Message
    rows: tuple[str, ...]
    column_title: str | Message
    columns: tuple[str | Message, ...]
    values: Mapping[str, Values]
    names: Mapping[str, str | Message] = {}
    texts: tuple[tuple[str, ...], ...] = ()
