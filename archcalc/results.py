"""Results: records whose fields carry their headings.

Tables, CSV, JSON, DataFrames and JSON Schemas derive from a record, with the same field names in all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from archcalc.words import Bytes, Message

if TYPE_CHECKING:
    import pandas as pd

CellKind = Literal[
    "text", "quoted", "words", "value", "product", "vector", "ranges", "count", "human", "percent", "seconds", "signed",
    "change", "decimal", "bar",
]  # fmt: skip
# How a number is shown again in a column of its own beside its digits: 174.6 B, 349.2 GB, a bar.
Rounded = Literal["", "count", "bytes", "bar"]
# `exact` follows from the model's tensors, `measured` from a clock or an allocator, `modeled` from a stated model.
Sureness = Literal["exact", "measured", "modeled"]

# Beyond it, pandas would wrap whole numbers.
_INT64 = 2**63


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """How a field is shown.

    heading: the column's, and the field's description in the JSON Schema. kind: how a cell is printed. rounded: a
    second column with the number rounded, or as a bar. is_summed: the last row of a table adds it up. shown: whether
    tables have a column of it ('varied': only where its values differ); CSV, JSON and DataFrames have every field.
    names: what values are called in tables, in the reader's language.
    """

    heading: str | Message
    kind: CellKind = "text"
    rounded: Rounded = ""
    is_summed: bool = False
    shown: Literal["always", "varied", "never"] = "always"
    names: Mapping[Any, str | Message] = {}


def text(
    heading: str | Message,
    *,
    names: Mapping[Any, str | Message] | None = None,
    shown: Literal["always", "varied"] = "always",
) -> Field:
    """Return the field of a name, a path or a formula. Tables call its values what `names` says."""
    return Field(heading=heading, names=names or {}, shown=shown)


def count(heading: str | Message, *, rounded: Rounded = "", is_summed: bool = True) -> Field:
    """Return the field of a whole number."""
    return Field(heading=heading, kind="count", rounded=rounded, is_summed=is_summed)


def counts(heading: str | Message, *, names: Mapping[Any, str | Message] | None = None) -> Field:
    """Return the field of whole numbers by key. Tables have a column for each key, called what `names` says."""
    return Field(heading=heading, kind="count", is_summed=True, names=names or {})


def share(heading: str | Message) -> Field:
    """Return the field of a fraction of 1, printed as a percentage."""
    return Field(heading=heading, kind="percent", is_summed=True)


def number(heading: str | Message, kind: CellKind, *, is_summed: bool = False) -> Field:
    """Return the field of a number that is printed as its kind says."""
    return Field(heading=heading, kind=kind, is_summed=is_summed)


def probability(heading: str | Message) -> Field:
    """Return the field of a probability, printed with a bar beside it."""
    return Field(heading=heading, kind="decimal", rounded="bar")


def product(heading: str | Message) -> Field:
    """Return the field of axes or sizes, printed with '×' between them."""
    return Field(heading=heading, kind="product")


def data(heading: str | Message) -> Field:
    """Return a field without a column in tables."""
    return Field(heading=heading, shown="never")


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A row of a table. Every field is annotated with its `Field`; a mapping has a column for each key.

    The fields of a record come before those of its base: what a row is about, then its figures.
    """


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What a command computes: figures, and tables as tuples of rows. Every field is annotated with its `Field`."""


@cache
def fields_of(record: type[msgspec.Struct]) -> dict[str, Field]:
    """Return how each field of a record is shown, in their order. KeyError for a field without a `Field`."""
    hints = get_type_hints(record, include_extras=True)
    return {name: _field(hints[name], f"{record.__name__}.{name}") for name in _field_names(record)}


@cache
def _field_names(record: type[msgspec.Struct]) -> tuple[str, ...]:
    base = record.__base__
    if base is None or not issubclass(base, Row):
        return record.__struct_fields__
    inherited = _field_names(base)
    return (*(name for name in record.__struct_fields__ if name not in inherited), *inherited)


def _field(hint: Any, name: str) -> Field:
    fields = [one for one in get_args(hint) if isinstance(one, Field)] if get_origin(hint) is Annotated else []
    if not fields:
        raise KeyError(f"{name} has no Field")
    return fields[0]


def plain(value: Any) -> Any:
    """Return a result as JSON has it: dicts, lists, texts and numbers. Messages are in English, other values texts."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, msgspec.Struct) and not isinstance(value, Message | Bytes):
        return {name: plain(getattr(value, name)) for name in _field_names(type(value))}
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, Sequence) else str(value)


def columns(row: Row) -> dict[str, Any]:
    """Return the fields of a row as CSV and DataFrames have them: a key `k` of a mapping `field` is `field.k`."""
    cells: dict[str, Any] = {}
    for name in _field_names(type(row)):
        value = getattr(row, name)
        if isinstance(value, Mapping):
            cells |= {f"{name}.{key}": number for key, number in value.items()}
        else:
            cells[name] = str(value) if isinstance(value, Message) else value
    return cells


def frame(rows: Iterable[Row]) -> pd.DataFrame:
    """Return rows as a DataFrame, a column for each field; whole numbers whose sum is beyond 64 bits as Python's.

    Raises MissingExtraError if pandas is not installed.
    """
    from archcalc.extras import require_pandas

    require_pandas()
    import pandas as pd

    table = pd.DataFrame([columns(row) for row in rows])
    for name in table.columns:
        values = table[name].tolist()
        if isinstance(values[0], int) and sum(values) >= _INT64:
            table[name] = pd.Series(values, dtype=object)
    return table


def json_schema(result: Any) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a result's type, each field described by its heading."""
    (whole,), definitions = msgspec.json.schema_components([result], ref_template="#/$defs/{name}")
    if Message.__name__ in definitions:
        definitions[Message.__name__] = {"type": "string"}
    for record in _records(result):
        definition = definitions[record.__name__]
        definition["properties"] = {
            name: {"description": str(field.heading)} | definition["properties"][name]
            for name, field in fields_of(record).items()
        }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **whole, "$defs": definitions}


def _records(hint: Any) -> set[type[Row | Result]]:
    """Return the records that a type is made of."""
    if isinstance(hint, type) and issubclass(hint, Row | Result):
        hints = get_type_hints(hint, include_extras=True)
        return {hint}.union(*(_records(hints[name]) for name in hint.__struct_fields__))
    return set().union(*map(_records, get_args(hint)))
