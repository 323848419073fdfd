"""Change the kind of a part: keep the common fields, derive required ones from the rest of the document."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Final

import msgspec.inspect as inspect

from archcalc.dashboard.form.document_paths import accepts, nearest_first, part_type, replace_value, walk
from archcalc.errors import InputError
from archcalc.spec.document import Document, decode
from archcalc.spec.field_types import (
    FieldType,
    Path,
    default_value,
    kind_entry,
    member_types,
    parse_path,
    type_at,
    value_at,
    with_defaults,
)

NONE: Final = "none"
_STACKS: Final = ("encoder", "decoder")
_MAX_RESETS: Final = 8


def part_types(field_type: FieldType) -> dict[str, inspect.StructType | None]:
    """Return the part types of a field by kind, or by class name if they have no kind, and `none` if it is optional."""
    optional: dict[str, inspect.StructType | None] = {}
    if any(isinstance(member, inspect.NoneType) for member in member_types(field_type)):
        optional[NONE] = None
    return optional | {
        name_of(member): member for member in member_types(field_type) if isinstance(member, inspect.StructType)
    }


def name_of(part: inspect.StructType) -> str:
    """Return the kind of a part, or its class name."""
    return str(part.tag or part.cls.__name__)


def switch_kind(document: Document, path: Path, name: str, previous: Any = None) -> Document:
    """Return the document with a part of this kind at the path: the previous one, or a new one."""
    field_type, old = type_at(document, path), value_at(document, path)
    part = part_types(field_type)[name]
    if part is None or previous is not None:
        return _update_cross_attention(replace_value(document, path, previous), path)
    values = new_part(document, path, part)
    common = {field.name: old[field.name] for field in part.fields if isinstance(old, dict) and field.name in old}
    types = {field.name: field.type for field in part.fields}
    values |= {name: value for name, value in common.items() if accepts(types[name], value)}
    return _update_cross_attention(
        _reset_invalid_fields(replace_value(document, path, with_defaults(values, part)), path), path
    )


def new_part(document: Document, path: Path, part: inspect.StructType) -> dict[str, Any]:
    """Return a part for this path: a copy of the nearest part of its type, else defaults and derived values."""
    candidates = [
        (where, value)
        for where, field_type, value in walk(document)
        if (found := part_type(field_type, value)) is not None and found.cls is part.cls and where != path
    ]
    if candidates:
        nearest: dict[str, Any] = copy.deepcopy(nearest_first(candidates, path)[0])
        return nearest
    required = {field.name: required_value(document, path, field) for field in part.fields if field.required}
    return (
        kind_entry(part) | {field.name: default_value(field) for field in part.fields if not field.required} | required
    )


def required_value(document: Document, path: Path, field: inspect.Field) -> Any:
    """Return a value for a required field: from the nearest field of its name, from the sizes, or from its type."""
    candidates = [
        (where, value) for where, _, value in walk(document) if where[-1:] == (field.name,) and where[:-1] != path
    ]
    for value in nearest_first(candidates, path):
        if accepts(field.type, value):
            return copy.deepcopy(value)
    if field.name in _DERIVED:
        return _DERIVED[field.name](document)
    return _value_of_type(document, path, field)


def _value_of_type(document: Document, path: Path, field: inspect.Field) -> Any:
    match member_types(field.type)[0]:
        case inspect.IntType(ge=minimum):
            return document.get("d_model", 1) if field.name.startswith("d_") else max(minimum or 0, 1)
        case inspect.FloatType():
            return 1.0
        case inspect.BoolType():
            return False
        case inspect.LiteralType(values=values):
            return values[0]
        case inspect.StructType() as part:
            return new_part(document, (*path, field.name), part)
        case inspect.VarTupleType(item_type=inspect.StructType() as part):
            return [new_part(document, (*path, field.name, 0), part)]
        case inspect.VarTupleType():
            return []
    return field.name


def _first(document: Document, name: str, default: int) -> int:
    """Return the first size of this name in the document."""
    values = (value for path, _, value in walk(document) if path[-1:] == (name,))
    return next((value for value in values if type(value) is int and value > 0), default)


def _d_model(document: Document) -> int:
    return _first(document, "d_model", 64)


def _n_heads(document: Document) -> int:
    """Return a number of heads that divides d_model into heads of a common width."""
    d_model = _d_model(document)
    return _first(
        document, "n_heads", next(d_model // width for width in (64, 32, 16, 8, 4, 2, 1) if not d_model % width)
    )


def _d_head(document: Document) -> int:
    return _first(document, "d_head", max(_d_model(document) // _n_heads(document), 1))


def _ones(document: Document) -> list[float]:
    """Return a factor for each pair of rotated dimensions."""
    width = _first(document, "d_rotary", _first(document, "d_rope", _d_head(document)))
    return [1.0] * max(width // 2, 1)


def _runs(document: Document) -> list[Any]:
    """Return one layer of grouped-query attention and a gated feed-forward network."""
    norm = {"kind": "rmsnorm"}
    attention = {"kind": "gqa", "n_heads": _n_heads(document), "position": {"kind": "rope"}}
    ffn = {"kind": "gated", "d_ff": 4 * _d_model(document)}
    return [{"count": 1, "pattern": [{"norm": norm, "attention": attention, "ffn": ffn}]}]


# Values of required fields that the document has nowhere else, in proportions of published models.
_DERIVED: Final[dict[str, Callable[[Document], Any]]] = {
    "n_heads": _n_heads,
    "d_ff": lambda document: 4 * _d_model(document),
    "d_expert": lambda document: _first(document, "d_ff", 4 * _d_model(document)),
    "n_experts": lambda document: 8,
    "n_streams": lambda document: 2,
    "n_active": lambda document: 2,
    "kv_rank": lambda document: 4 * _d_head(document),
    "d_nope": _d_head,
    "d_v": _d_head,
    "d_rope": lambda document: 2 * max(_d_head(document) // 4, 1),
    "d_embed": lambda document: max(_d_model(document) // 4, 1),
    "factor": lambda document: 2.0,
    "n_ctx_original": lambda document: max(_first(document, "n_ctx", 2) // 2, 1),
    "short": lambda document: _ones(document),
    "long": lambda document: _ones(document),
    "n_tokens": lambda document: _first(document, "n_ctx", 1),
    "activation": lambda document: "gelu",
    "runs": _runs,
}


def _reset_invalid_fields(document: Document, path: Path) -> Document:
    """Set optional fields of the new part that contradict the document to their defaults."""
    for _ in range(_MAX_RESETS):
        try:
            decode(document)
        except InputError as error:
            where = parse_path(str(error.where))
            field = _field_at(document, where)
            if where[: len(path)] != path or field is None or field.required:
                return document
            if value_at(document, where) == default_value(field):
                return document
            document = replace_value(document, where, default_value(field))
    return document


def _field_at(document: Document, path: Path) -> inspect.Field | None:
    """Return the field at the end of a path, None if the document has no such field."""
    try:
        value_at(document, path)
    except (KeyError, IndexError, TypeError):
        return None
    part = part_type(type_at(document, path[:-1]), value_at(document, path[:-1]))
    return next((field for field in part.fields if field.name == path[-1]), None) if part and path else None


def _update_cross_attention(document: Document, path: Path) -> Document:
    """Add or remove cross-attention after a stack was added or removed."""
    if path[0] not in _STACKS or len(path) > 1:
        return document
    has_both = all(document.get(role) for role in _STACKS)
    layers = [
        (where, value)
        for where, field_type, value in walk(document)
        if (part := part_type(field_type, value)) is not None and any(field.name == "cross" for field in part.fields)
    ]
    if has_both and any(layer.get("cross") for _, layer in layers):
        return document
    for where, layer in layers:
        cross_path = (*where, "cross")
        if not has_both:
            document = replace_value(document, cross_path, None)
        elif where[0] == "decoder" and not str(layer.get("placement")).startswith("parallel"):
            document = switch_kind(document, cross_path, next(reversed(part_types(type_at(document, cross_path)))))
    return document
