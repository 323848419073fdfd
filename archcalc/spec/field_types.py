"""Types and default values of the fields of a document.

A path is a tuple of keys and indices; as text it is 'decoder.runs[0].count'. Imported only when needed, because type
inspection is slow.
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
    """Return the type of a spec."""
    return inspect.type_info(Spec)


def parse_path(path: str) -> Path:
    """Return the path of a text: 'runs[0].norm' gives ('runs', 0, 'norm')."""
    return tuple(int(part) if part.isdigit() else part for part in re.findall(r"[^.\[\]]+", path))


def path_text(path: Path) -> str:
    """Return the text of a path: ('runs', 0, 'norm') gives 'runs[0].norm'."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path).lstrip(".")


def value_at(document: Any, path: Path) -> Any:
    """Return the value at a path. Raises KeyError, IndexError or TypeError if there is none."""
    for key in path:
        document = document[key]
    return document


def type_at(document: Any, path: Path) -> FieldType:
    """Return the type of the field at a path; None if the spec has no such field."""
    kind: FieldType = spec_type()
    for key in path:
        kind = child_type(kind, document, key)
        try:
            document = document[key]
        except (KeyError, IndexError, TypeError):
            document = None
    return kind


def child_type(kind: FieldType, value: Any, key: Key) -> FieldType:
    """Return the type of the item `key` of a `value` of this type."""
    match container_type(kind, value):
        case inspect.VarTupleType(item_type=item):
            return item
        case inspect.StructType(fields=fields, tag_field=tag_field):
            if key == tag_field:
                return inspect.LiteralType(tags(kind))
            return next((field.type for field in fields if field.name == key), None)
    return inspect.LiteralType(tags(kind)) if key == "kind" else None


def member_types(kind: FieldType) -> tuple[inspect.Type, ...]:
    """Return the types of a union, or the type itself."""
    return kind.types if isinstance(kind, inspect.UnionType) else (kind,) if kind is not None else ()


def container_type(kind: FieldType, value: Any) -> FieldType:
    """Return the member of a union that the value's `kind` selects, or its only struct or tuple."""
    if not isinstance(kind, inspect.UnionType):
        return kind
    containers = [member for member in kind.types if isinstance(member, inspect.StructType | inspect.VarTupleType)]
    tag = value.get("kind") if isinstance(value, dict) else None
    if len(containers) > 1:
        containers = [member for member in containers if getattr(member, "tag", None) == tag]
    return containers[0] if containers else None


def tags(kind: FieldType) -> tuple[str, ...]:
    """Return the kinds that a type allows."""
    return tuple(str(member.tag) for member in member_types(kind) if isinstance(member, inspect.StructType))


def with_defaults(value: Any, kind: FieldType | None = None) -> Any:
    """Return a value with the defaults of all missing fields. `kind` defaults to a whole spec.

    Values of a wrong type and missing required fields stay as they are.
    """
    kind = spec_type() if kind is None else kind
    match container_type(kind, value), value:
        case inspect.StructType() as part, dict():
            return kind_entry(part) | _fields_with_defaults(part, value)
        case inspect.VarTupleType(item_type=item), list() | tuple():
            return [with_defaults(each, item) for each in value]
    is_float = any(isinstance(member, inspect.FloatType) for member in member_types(kind))
    return float(value) if is_float and type(value) is int else value


def _fields_with_defaults(part: inspect.StructType, value: dict[str, Any]) -> dict[str, Any]:
    known: dict[str, Any] = {}
    for field in part.fields:
        if field.name in value:
            known[field.name] = with_defaults(value[field.name], field.type)
        elif not field.required:
            known[field.name] = default_value(field)
    return known | {key: item for key, item in value.items() if key not in known}


def without_defaults(value: Any, kind: FieldType) -> Any:
    """Return a value without fields at their defaults: the inverse of `with_defaults`."""
    match container_type(kind, value), value:
        case inspect.StructType() as part, dict():
            fields = {field.name: field for field in part.fields}
            return {
                key: without_defaults(item, fields[key].type) if key in fields else item
                for key, item in value.items()
                if key not in fields or fields[key].required or item != default_value(fields[key])
            }
        case inspect.VarTupleType(item_type=item), list():
            return [without_defaults(each, item) for each in value]
    return value


def kind_entry(part: inspect.StructType) -> dict[str, Any]:
    """Return {'kind': 'gqa'} of a part with a kind."""
    return {part.tag_field: part.tag} if part.tag_field else {}


def default_value(field: inspect.Field) -> Any:
    """Return a new copy of the default value of a field, as plain data."""
    value = field.default if field.default is not msgspec.NODEFAULT else cast(Any, field.default_factory)()
    return msgspec.json.decode(msgspec.json.encode(value))
