"""A place given another kind of part: what both have is kept, what the new one needs is taken from its surroundings."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Final

import msgspec.inspect as inspect

from archcalc.dashboard.form.places import nearest_first, part_at, places, replaced, suits
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
_TRIES: Final = 8


def kinds(kind: FieldType) -> dict[str, inspect.StructType | None]:
    """What a place may be, by name: its kinds, the name of the type where it has no kind, and `none`."""
    found: dict[str, inspect.StructType | None] = {}
    if any(isinstance(member, inspect.NoneType) for member in member_types(kind)):
        found[NONE] = None
    return found | {name_of(member): member for member in member_types(kind) if isinstance(member, inspect.StructType)}


def name_of(part: inspect.StructType) -> str:
    """The kind of a part, or its type's name."""
    return str(part.tag or part.cls.__name__)


def switched(document: Document, path: Path, name: str, remembered: Any = None) -> Document:
    """The document with a part of this kind at the path: as it is remembered, or else made to suit."""
    kind, old = type_at(document, path), value_at(document, path)
    part = kinds(kind)[name]
    if part is None or remembered is not None:
        return _crossed(replaced(document, path, remembered), path)
    made = fresh(document, path, part)
    kept = {field.name: old[field.name] for field in part.fields if isinstance(old, dict) and field.name in old}
    fields = {field.name: field.type for field in part.fields}
    made |= {name: value for name, value in kept.items() if suits(fields[name], value)}
    return _crossed(_repaired(replaced(document, path, with_defaults(made, part)), path), path)


def fresh(document: Document, path: Path, part: inspect.StructType) -> dict[str, Any]:
    """A part for this place: a copy of the nearest of its type, else its defaults and what its place suggests."""
    like = [
        (where, value)
        for where, kind, value in places(document)
        if (found := part_at(kind, value)) is not None and found.cls is part.cls and where != path
    ]
    if like:
        made: dict[str, Any] = copy.deepcopy(nearest_first(like, path)[0])
        return made
    required = {field.name: needed(document, path, field) for field in part.fields if field.required}
    return (
        kind_entry(part) | {field.name: default_value(field) for field in part.fields if not field.required} | required
    )


def needed(document: Document, path: Path, field: inspect.Field) -> Any:
    """A value for a required field: as the nearest of its name has it, as the sizes suggest, as its type allows."""
    same = [
        (where, value) for where, _, value in places(document) if where[-1:] == (field.name,) and where[:-1] != path
    ]
    for value in nearest_first(same, path):
        if suits(field.type, value):
            return copy.deepcopy(value)
    if field.name in _SUGGESTED:
        return _SUGGESTED[field.name](document)
    return _of_type(document, path, field)


def _of_type(document: Document, path: Path, field: inspect.Field) -> Any:
    match member_types(field.type)[0]:
        case inspect.IntType(ge=least):
            return document.get("d_model", 1) if field.name.startswith("d_") else max(least or 0, 1)
        case inspect.FloatType():
            return 1.0
        case inspect.BoolType():
            return False
        case inspect.LiteralType(values=values):
            return values[0]
        case inspect.StructType() as part:
            return fresh(document, (*path, field.name), part)
        case inspect.VarTupleType(item_type=inspect.StructType() as part):
            return [fresh(document, (*path, field.name, 0), part)]
        case inspect.VarTupleType():
            return []
    return field.name


def _first(document: Document, name: str, otherwise: int) -> int:
    """The first size of this name that a document states."""
    stated = (value for path, _, value in places(document) if path[-1:] == (name,))
    return next((value for value in stated if type(value) is int and value > 0), otherwise)


def _d_model(document: Document) -> int:
    return _first(document, "d_model", 64)


def _n_heads(document: Document) -> int:
    """So many heads that each is of a width in use and they fill the model's."""
    d_model = _d_model(document)
    return _first(
        document, "n_heads", next(d_model // width for width in (64, 32, 16, 8, 4, 2, 1) if not d_model % width)
    )


def _d_head(document: Document) -> int:
    return _first(document, "d_head", max(_d_model(document) // _n_heads(document), 1))


def _ones(document: Document) -> list[float]:
    """A factor for each pair of dimensions that is turned."""
    width = _first(document, "d_rotary", _first(document, "d_rope", _d_head(document)))
    return [1.0] * max(width // 2, 1)


def _runs(document: Document) -> list[Any]:
    """One layer of attention and a feed-forward, both as plain as can be."""
    norm = {"kind": "rmsnorm"}
    attention = {"kind": "gqa", "n_heads": _n_heads(document), "position": {"kind": "rope"}}
    ffn = {"kind": "gated", "d_ff": 4 * _d_model(document)}
    return [{"count": 1, "pattern": [{"norm": norm, "attention": attention, "ffn": ffn}]}]


# What a required field is where no other of its name says so: proportions that are common among published models.
_SUGGESTED: Final[dict[str, Callable[[Document], Any]]] = {
    "n_heads": _n_heads,
    "d_ff": lambda document: 4 * _d_model(document),
    "d_expert": lambda document: _first(document, "d_ff", 4 * _d_model(document)),
    "n_experts": lambda document: 8,
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


def _repaired(document: Document, path: Path) -> Document:
    """Optional fields of the new part that contradict its place are put back to what they are if left out."""
    for _ in range(_TRIES):
        try:
            decode(document)
        except InputError as error:
            where = parse_path(error.where)
            field = _field_at(document, where)
            if where[: len(path)] != path or field is None or field.required:
                return document
            if value_at(document, where) == default_value(field):
                return document
            document = replaced(document, where, default_value(field))
    return document


def _field_at(document: Document, path: Path) -> inspect.Field | None:
    """The field that a path ends in; None where it ends in no field that the document has."""
    try:
        value_at(document, path)
    except (KeyError, IndexError, TypeError):
        return None
    part = part_at(type_at(document, path[:-1]), value_at(document, path[:-1]))
    return next((field for field in part.fields if field.name == path[-1]), None) if part and path else None


def _crossed(document: Document, path: Path) -> Document:
    """Where a stack came or went, decoder layers attend to the encoder, or to nothing."""
    if path[0] not in _STACKS or len(path) > 1:
        return document
    both = all(document.get(role) for role in _STACKS)
    layers = [
        (where, value)
        for where, kind, value in places(document)
        if (part := part_at(kind, value)) is not None and any(field.name == "cross" for field in part.fields)
    ]
    if both and any(layer.get("cross") for _, layer in layers):
        return document
    for where, layer in layers:
        here = (*where, "cross")
        if not both:
            document = replaced(document, here, None)
        elif where[0] == "decoder" and not str(layer.get("placement")).startswith("parallel"):
            document = switched(document, here, next(reversed(kinds(type_at(document, here)))))
    return document
