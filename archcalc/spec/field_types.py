"""What the spec's types say of a place in a document: which type stands there, and what it holds where nothing is said.

A path is a tuple of keys and indices; in words it is 'decoder.runs[0].count'. Imported only when asked: types take a
moment to be looked into.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any, cast

import msgspec
import msgspec.inspect as inspect

from archcalc.spec.model import Spec

Key = str | int
Path = tuple[Key, ...]
FieldType = inspect.Type | None


@cache
def spec_type() -> inspect.Type:
    """The type of a whole spec."""
    return inspect.type_info(Spec)


def parse_path(path: str) -> Path:
    """'runs[0].norm' → ('runs', 0, 'norm')."""
    return tuple(int(part) if part.isdigit() else part for part in re.findall(r"[^.\[\]]+", path))


def path_text(path: Path) -> str:
    """('runs', 0, 'norm') → 'runs[0].norm'."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path).lstrip(".")


def value_at(document: Any, path: Path) -> Any:
    """What stands at a path. KeyError, IndexError or TypeError where there is none."""
    for key in path:
        document = document[key]
    return document


def type_at(document: Any, path: Path) -> FieldType:
    """The type that the spec gives the place at a path; None where it gives none."""
    kind: FieldType = spec_type()
    for key in path:
        kind = child_type(kind, document, key)
        try:
            document = document[key]
        except (KeyError, IndexError, TypeError):
            document = None
    return kind


def child_type(kind: FieldType, value: Any, key: Key) -> FieldType:
    """The type of the item `key` of a `value` of this type."""
    match container_type(kind, value):
        case inspect.VarTupleType(item_type=item):
            return item
        case inspect.StructType(fields=fields, tag_field=tag_field):
            if key == tag_field:
                return inspect.LiteralType(tags(kind))
            return next((field.type for field in fields if field.name == key), None)
    return inspect.LiteralType(tags(kind)) if key == "kind" else None


def member_types(kind: FieldType) -> tuple[inspect.Type, ...]:
    """The types of a union, or the one type alone."""
    return kind.types if isinstance(kind, inspect.UnionType) else (kind,) if kind is not None else ()


def container_type(kind: FieldType, value: Any) -> FieldType:
    """Of a union, the member that the value's `kind` means, or its only one that holds others."""
    if not isinstance(kind, inspect.UnionType):
        return kind
    holders = [member for member in kind.types if isinstance(member, inspect.StructType | inspect.VarTupleType)]
    stated = value.get("kind") if isinstance(value, dict) else None
    if len(holders) > 1:
        holders = [member for member in holders if getattr(member, "tag", None) == stated]
    return holders[0] if holders else None


def tags(kind: FieldType) -> tuple[str, ...]:
    """The kinds that a place may be of."""
    return tuple(str(member.tag) for member in member_types(kind) if isinstance(member, inspect.StructType))


def with_defaults(value: Any, kind: FieldType | None = None) -> Any:
    """A value with all that it leaves out at its default, so that every field stands in it; a whole document's, unless
    its type is told. What does not fit its type stays as it is, and what is required and absent stays so.
    """
    kind = spec_type() if kind is None else kind
    match container_type(kind, value), value:
        case inspect.StructType() as part, dict():
            return kind_entry(part) | _fields_filled(part, value)
        case inspect.VarTupleType(item_type=item), list() | tuple():
            return [with_defaults(each, item) for each in value]
    is_float = any(isinstance(member, inspect.FloatType) for member in member_types(kind))
    return float(value) if is_float and type(value) is int else value


def _fields_filled(part: inspect.StructType, value: dict[str, Any]) -> dict[str, Any]:
    known: dict[str, Any] = {}
    for field in part.fields:
        if field.name in value:
            known[field.name] = with_defaults(value[field.name], field.type)
        elif not field.required:
            known[field.name] = default_value(field)
    return known | {key: found for key, found in value.items() if key not in known}


def without_defaults(value: Any, kind: FieldType) -> Any:
    """What `filled` makes the value of again: what stands at its default is left out."""
    match container_type(kind, value), value:
        case inspect.StructType() as part, dict():
            fields = {field.name: field for field in part.fields}
            return {
                key: without_defaults(found, fields[key].type) if key in fields else found
                for key, found in value.items()
                if key not in fields or fields[key].required or found != default_value(fields[key])
            }
        case inspect.VarTupleType(item_type=item), list():
            return [without_defaults(each, item) for each in value]
    return value


def kind_entry(part: inspect.StructType) -> dict[str, Any]:
    """{'kind': 'gqa'} of a part that has one."""
    return {part.tag_field: part.tag} if part.tag_field else {}


def default_value(field: inspect.Field) -> Any:
    """What a field holds where nothing is said, as a document's value of its own."""
    made = field.default if field.default is not msgspec.NODEFAULT else cast(Any, field.default_factory)()
    return msgspec.json.decode(msgspec.json.encode(made))
