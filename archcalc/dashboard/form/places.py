"""Documents changed without touching the old one, and walked with the types of their places."""

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


def replaced(node: Any, path: Path, value: Any) -> Any:
    """The same data with another value at a path; what lies beside the path is shared with the old."""
    if not path:
        return value
    copied: Any = list(node) if isinstance(node, list) else dict(node)
    inner = node.get(path[0]) if isinstance(node, dict) else node[path[0]]
    copied[path[0]] = replaced(inner, path[1:], value)
    return copied


def places(document: Document) -> Iterator[tuple[Path, FieldType, Any]]:
    """Every place of a document that the spec has a type for: (path, type, value)."""
    waiting: list[tuple[Path, FieldType, Any]] = [((), spec_type(), document)]
    while waiting:
        path, kind, value = waiting.pop(0)
        yield path, kind, value
        keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
        inside = ((key, child_type(kind, value, key)) for key in keys)
        waiting += [((*path, key), inner, value[key]) for key, inner in inside if inner is not None]


def nearest_first(found: list[tuple[Path, Any]], path: Path) -> list[Any]:
    """The values, those first that share most of the path."""

    def apart(place: tuple[Path, Any]) -> int:
        pairs = zip(place[0], path, strict=False)
        return -next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(place[0]), len(path)))

    return [value for _, value in sorted(found, key=apart)]


def suits(kind: FieldType, value: Any) -> bool:
    """Whether a place of this type may hold the value, as far as its sort goes: bounds are the decoder's business."""
    for member in member_types(kind):
        match member:
            case inspect.LiteralType(values=values) if isinstance(value, str) and value in values:
                return True
            case inspect.StructType(tag_field=field, tag=tag) if isinstance(value, dict):
                if field is None or value.get(field) == tag:
                    return True
            case inspect.VarTupleType(item_type=item) if isinstance(value, list):
                return all(suits(item, each) for each in value)
            case _ if type(value) in _SCALARS.get(type(member), ()):
                return True
    return False


def part_at(kind: FieldType, value: Any) -> inspect.StructType | None:
    """The type of part that stands in a place; None where it is no part, or of no known kind."""
    found = container_type(kind, value) if isinstance(value, dict) else None
    return found if isinstance(found, inspect.StructType) else None
