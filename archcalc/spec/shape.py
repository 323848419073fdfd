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
Kind = inspect.Type | None


@cache
def spec_type() -> inspect.Type:
    """The type of a whole spec."""
    return inspect.type_info(Spec)


def keys_of(path: str) -> Path:
    """'runs[0].norm' → ('runs', 0, 'norm')."""
    return tuple(int(part) if part.isdigit() else part for part in re.findall(r"[^.\[\]]+", path))


def in_dots(path: Path) -> str:
    """('runs', 0, 'norm') → 'runs[0].norm'."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path).lstrip(".")


def value_at(document: Any, path: Path) -> Any:
    """What stands at a path. KeyError, IndexError or TypeError where there is none."""
    for key in path:
        document = document[key]
    return document


def type_at(document: Any, path: Path) -> Kind:
    """The type that the spec gives the place at a path; None where it gives none."""
    kind: Kind = spec_type()
    for key in path:
        kind = child(kind, document, key)
        try:
            document = document[key]
        except (KeyError, IndexError, TypeError):
            document = None
    return kind


def child(kind: Kind, value: Any, key: Key) -> Kind:
    """The type of the item `key` of a `value` of this type."""
    match holder(kind, value):
        case inspect.VarTupleType(item_type=item):
            return item
        case inspect.StructType(fields=fields, tag_field=tag_field):
            if key == tag_field:
                return inspect.LiteralType(tags(kind))
            return next((field.type for field in fields if field.name == key), None)
    return inspect.LiteralType(tags(kind)) if key == "kind" else None


def members(kind: Kind) -> tuple[inspect.Type, ...]:
    """The types of a union, or the one type alone."""
    return kind.types if isinstance(kind, inspect.UnionType) else (kind,) if kind is not None else ()


def holder(kind: Kind, value: Any) -> Kind:
    """Of a union, the member that the value's `kind` means, or its only one that holds others."""
    if not isinstance(kind, inspect.UnionType):
        return kind
    holders = [member for member in kind.types if isinstance(member, inspect.StructType | inspect.VarTupleType)]
    stated = value.get("kind") if isinstance(value, dict) else None
    if len(holders) > 1:
        holders = [member for member in holders if getattr(member, "tag", None) == stated]
    return holders[0] if holders else None


def tags(kind: Kind) -> tuple[str, ...]:
    """The kinds that a place may be of."""
    return tuple(str(member.tag) for member in members(kind) if isinstance(member, inspect.StructType))


def filled(value: Any, kind: Kind | None = None) -> Any:
    """A value with all that it leaves out at its default, so that every field stands in it; a whole document's, unless
    its type is told. What does not fit its type stays as it is, and what is required and absent stays so.
    """
    kind = spec_type() if kind is None else kind
    match holder(kind, value), value:
        case inspect.StructType() as part, dict():
            return tag_of(part) | _fields_filled(part, value)
        case inspect.VarTupleType(item_type=item), list() | tuple():
            return [filled(each, item) for each in value]
    is_float = any(isinstance(member, inspect.FloatType) for member in members(kind))
    return float(value) if is_float and type(value) is int else value


def _fields_filled(part: inspect.StructType, value: dict[str, Any]) -> dict[str, Any]:
    known: dict[str, Any] = {}
    for field in part.fields:
        if field.name in value:
            known[field.name] = filled(value[field.name], field.type)
        elif not field.required:
            known[field.name] = default(field)
    return known | {key: found for key, found in value.items() if key not in known}


def compact(value: Any, kind: Kind) -> Any:
    """What `filled` makes the value of again: what stands at its default is left out."""
    match holder(kind, value), value:
        case inspect.StructType() as part, dict():
            fields = {field.name: field for field in part.fields}
            return {
                key: compact(found, fields[key].type) if key in fields else found
                for key, found in value.items()
                if key not in fields or fields[key].required or found != default(fields[key])
            }
        case inspect.VarTupleType(item_type=item), list():
            return [compact(each, item) for each in value]
    return value


def tag_of(part: inspect.StructType) -> dict[str, Any]:
    """{'kind': 'gqa'} of a part that has one."""
    return {part.tag_field: part.tag} if part.tag_field else {}


def default(field: inspect.Field) -> Any:
    """What a field holds where nothing is said, as a document's value of its own."""
    made = field.default if field.default is not msgspec.NODEFAULT else cast(Any, field.default_factory)()
    return msgspec.json.decode(msgspec.json.encode(made))
