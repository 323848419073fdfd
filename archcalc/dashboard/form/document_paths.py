"""Change documents without mutation, and walk them with the types of their fields."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec.inspect as inspect

from archcalc.spec.document import Document
from archcalc.spec.field_types import FieldType, Path, child_type, container_type, member_types, spec_type

_SCALARS: dict[type, tuple[type, ...]] = {
    inspect.BoolType: (bool,),
    inspect.IntType: (int,),
    inspect.FloatType: (float, int),
    inspect.StrType: (str,),
    inspect.NoneType: (type(None),),
}


def replace_value(node: Any, path: Path, value: Any) -> Any:
    """Return a copy with another value at a path; everything beside the path is shared."""
    if not path:
        return value
    copy: Any = list(node) if isinstance(node, list) else dict(node)
    inner = node.get(path[0]) if isinstance(node, dict) else node[path[0]]
    copy[path[0]] = replace_value(inner, path[1:], value)
    return copy


def walk(document: Document) -> Iterator[tuple[Path, FieldType, Any]]:
    """Yield (path, type, value) of every value that has a type in the spec, breadth first."""
    queue: list[tuple[Path, FieldType, Any]] = [((), spec_type(), document)]
    while queue:
        path, field_type, value = queue.pop(0)
        yield path, field_type, value
        keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
        children = ((key, child_type(field_type, value, key)) for key in keys)
        queue += [((*path, key), inner, value[key]) for key, inner in children if inner is not None]


def nearest_first(values: list[tuple[Path, Any]], path: Path) -> list[Any]:
    """Return the values, sorted by how much of the path they share, most first."""

    def distance(entry: tuple[Path, Any]) -> int:
        pairs = zip(entry[0], path, strict=False)
        return -next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(entry[0]), len(path)))

    return [value for _, value in sorted(values, key=distance)]


def accepts(field_type: FieldType, value: Any) -> bool:
    """Return whether a value has one of the types of a field. Bounds are not checked."""
    for member in member_types(field_type):
        match member:
            case inspect.LiteralType(values=values) if isinstance(value, str) and value in values:
                return True
            case inspect.StructType(tag_field=field, tag=tag) if isinstance(value, dict):
                if field is None or value.get(field) == tag:
                    return True
            case inspect.VarTupleType(item_type=item_type) if isinstance(value, list):
                return all(accepts(item_type, item) for item in value)
            case _ if type(value) in _SCALARS.get(type(member), ()):
                return True
    return False


def part_type(field_type: FieldType, value: Any) -> inspect.StructType | None:
    """Return the type of a part; None if the value is no part or its kind is unknown."""
    member = container_type(field_type, value) if isinstance(value, dict) else None
    return member if isinstance(member, inspect.StructType) else None
