"""Tables of a result's rows: columns, rounded numbers and sums as the fields of the record say."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from archcalc.render.page import Column, Records, Table
from archcalc.results import Field, Rounded, Row, columns, fields_of
from archcalc.units import human
from archcalc.words import Bytes, Message, msg

_ROUNDED: dict[Rounded, Callable[[Any], Any]] = {"count": human, "bytes": Bytes, "bar": lambda share: share}


def table(
    title: str | Message,
    rows: Sequence[Row],
    record: type[Row],
    *,
    total: str | Message | None = None,
    counted: Sequence[Row] | None = None,
    without: Collection[str] = (),
    recorded: Sequence[Row] | None = None,
    changes: Mapping[str, Field] | None = None,
    subtotals: Mapping[str | Message, Sequence[Row]] | None = None,
) -> Table:
    """Return the table of rows.

    With `total`, its last row of that name adds up what can be added: `counted`, or all rows. `subtotals` are such rows
    before it. `without` names fields that get no column, `changes` has fields that this table shows in another way. CSV
    writes every field of every row, or of every row of `recorded`, and no sums.
    """
    fields = {
        name: field
        for name, field in {**fields_of(record), **(changes or {})}.items()
        if name not in without and _is_shown(name, field, rows)
    }
    sums = [_sums(some, fields, name) for name, some in (subtotals or {}).items()]
    if total is not None:
        sums.append(_sums(rows if counted is None else counted, fields, total))
    cells = [list(_cells(row, fields)) for row in rows]
    return Table(
        title,
        tuple(_columns(fields, rows)),
        [*cells, *sums],
        n_sums=len(sums),
        records=_records(record, rows if recorded is None else recorded),
    )


def side_by_side(
    title: str | Message,
    groups: Mapping[str, Sequence[Row]],
    record: type[Row],
    *,
    keys: Collection[str],
    without: Collection[str] = (),
) -> Table:
    """Return the table of groups of rows that agree in the fields `keys`: these, then the columns of each group.

    Headings say the group's name. CSV writes every field of every row, group by group.
    """
    first, *_ = groups.values()
    head = table("", first, record, without=fields_of(record).keys() - keys)
    columns, cells = [*head.columns], head.rows
    for name, rows in groups.items():
        part = table("", rows, record, without={*keys, *without})
        columns += (Column(_heading(column, name), column.kind) for column in part.columns)
        cells = [[*left, *right] for left, right in zip(cells, part.rows, strict=True)]
    every_row = [row for rows in groups.values() for row in rows]
    return Table(title, tuple(columns), cells, records=_records(record, every_row))


def grid_records(
    rows: Sequence[str | Message], columns: Sequence[str | Message], values: Sequence[Sequence[Any]]
) -> Records:
    """Return the cells of a grid as rows of `row`, `column` and `value`."""
    cells = [
        {"row": row, "column": column, "value": value}
        for row, row_values in zip(rows, values, strict=True)
        for column, value in zip(columns, row_values, strict=True)
    ]
    return Records(("row", "column", "value"), cells)


def _heading(column: Column, group: str) -> str | Message:
    return msg("{heading} in {name}", heading=column.heading, name=group) if column.heading else ""


def _is_shown(name: str, field: Field, rows: Sequence[Row]) -> bool:
    return field.shown == "always" or (field.shown == "varied" and len({getattr(row, name) for row in rows}) > 1)


def _records(record: type[Row], rows: Sequence[Row]) -> Records:
    by_name = [columns(row) for row in rows]
    return Records(list(by_name[0] if by_name else fields_of(record)), by_name)


def _columns(fields: Mapping[str, Field], rows: Sequence[Row]) -> Iterator[Column]:
    for name, field in fields.items():
        if rows and isinstance(keys := getattr(rows[0], name), Mapping):
            yield from (Column(field.names.get(key, key), field.kind) for key in keys)
            continue
        yield Column(field.heading, field.kind)
        if field.rounded:
            yield Column("", "bar" if field.rounded == "bar" else "human")


def _cells(row: Row, fields: Mapping[str, Field]) -> Iterator[Any]:
    for name, field in fields.items():
        value = getattr(row, name)
        yield from value.values() if isinstance(value, Mapping) else _cell(field, value)


def _cell(field: Field, value: Any) -> Iterator[Any]:
    yield field.names.get(value, value) if field.names else value
    if field.rounded:
        yield None if value is None else _ROUNDED[field.rounded](value)


def _sums(rows: Sequence[Row], fields: Mapping[str, Field], total: str | Message) -> list[Any]:
    """Return the row of a total: its name, and what the rows add up to."""
    cells: list[Any] = []
    for name, field in fields.items():
        values = [getattr(row, name) for row in rows]
        if values and isinstance(values[0], Mapping):
            cells += [sum(value[key] for value in values) if field.is_summed else None for key in values[0]]
        else:
            cells += _cell(field, sum(value for value in values if value is not None) if field.is_summed else None)
    return [total, *cells[1:]]
