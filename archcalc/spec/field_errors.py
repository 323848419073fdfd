"""Error messages for fields of a spec: what was found, and what the type allows.

Imported only when there is an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec.inspect as inspect

from archcalc.errors import InputError, nearest, shown
from archcalc.spec.about import About
from archcalc.spec.field_types import container_type, parse_path, type_at, value_at
from archcalc.words import Message, joined, msg

_PROBLEM = re.compile(r"^(?P<what>.*?)(?: - at (?P<key>`key` in )?`(?P<path>\$.*)`)?$", re.DOTALL)
_FIELD = re.compile(r"`(?P<field>.*)`", re.DOTALL)


def field_error(message: str, document: Any) -> InputError:
    """Return the error for a message of msgspec: the field's path, what was found there, what is allowed."""
    match = _PROBLEM.match(message)
    assert match is not None, "the pattern takes any text"
    problem, path = match["what"], (match["path"] or "$")[1:].lstrip(".")
    keys = parse_path(path)
    if match["key"]:
        key = next(key for key in value_at(document, keys) if not isinstance(key, str))
        return InputError(msg("the key {key} is not text", key=shown(key)), where=path, allowed=msg("text keys"))
    if "unknown field" in problem:
        return _unknown_field(
            _name_in(problem), path, container_type(type_at(document, keys), value_at(document, keys))
        )
    if "missing required field" in problem:
        field = _name_in(problem)
        allowed = allowed_values(type_at(document, (*keys, field)))
        return InputError(msg("the required field {field} is missing", field=repr(field)), where=path, allowed=allowed)
    kind = type_at(document, keys)
    value = value_at(document, keys)
    hint = nearest(value, _candidates(kind)) if isinstance(value, str) else ""
    return InputError(
        msg("found {found}{hint}", found=_as_written(value), hint=hint), where=path, allowed=allowed_values(kind)
    )


def _as_written(value: Any) -> str | Message:
    """Return a value as YAML writes it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return msg("an empty list") if value == [] else shown(value)


_SIMPLE_TYPES: dict[type, str | Message] = {inspect.BoolType: msg("true or false"), inspect.NoneType: "null"}


def allowed_values(kind: inspect.Type | None) -> str | Message:
    """Return a description of the values that a type allows."""
    if (simple := _SIMPLE_TYPES.get(type(kind))) is not None:
        return simple
    match kind:
        case inspect.IntType(ge=ge, le=le):
            return msg("an integer from {least} to {most}", least=ge, most=le)
        case inspect.FloatType():
            return _number(kind)
        case inspect.StrType(pattern=str()):
            return msg("lower-case letters, digits and _, up to 31, a letter first")
        case inspect.StrType(max_length=most):
            return msg("text of 1 to {most} characters", most=most) if most else msg("text")
        case inspect.LiteralType(values=values):
            return ", ".join(map(str, values))
        case inspect.UnionType(types=types):
            return _any_of(types)
        case inspect.StructType(tag=tag):
            return msg("a mapping of kind {kinds}", kinds=tag) if tag else msg("a mapping")
        case inspect.VarTupleType(max_length=most):
            return msg("a list of 1 to {most} items", most=most) if most else msg("a list")
    return ""


def _number(kind: inspect.FloatType) -> Message:
    signs = ((">", kind.gt), ("≥", kind.ge), ("<", kind.lt), ("≤", kind.le))
    bounds = [f"{sign} {bound:g}" for sign, bound in signs if bound is not None]
    return msg("a number {bounds}", bounds=joined(msg(" and "), bounds)) if bounds else msg("a number")


def _any_of(types: Iterable[inspect.Type]) -> Message:
    """Return the kinds of mappings together, then other types: 'a mapping of kind x or y, or null'."""
    tags = [str(member.tag) for member in types if isinstance(member, inspect.StructType) and member.tag]
    mappings = [msg("a mapping of kind {kinds}", kinds=joined(msg(" or "), tags))] if tags else []
    others = [allowed_values(member) for member in types if getattr(member, "tag", None) is None]
    return joined(msg(", or "), [*mappings, *others])


def _unknown_field(field: str, path: str, kind: inspect.Type | None) -> InputError:
    names = _candidates(kind) + ([] if path else list(About.__struct_fields__))  # which may also stand at the top level
    return InputError(
        msg("unknown key {field}{hint}", field=shown(field), hint=nearest(field, names)),
        where=path,
        allowed=", ".join(names),
    )


def _name_in(problem: str) -> str:
    match = _FIELD.search(problem)
    return match["field"] if match else ""


def _candidates(kind: inspect.Type | None) -> list[str]:
    """Return candidates for a misspelled name: fields of a struct, kinds of a union, values of a literal."""
    match kind:
        case inspect.StructType(fields=fields, tag_field=tag_field):
            return ([tag_field] if tag_field else []) + [field.encode_name for field in fields]
        case inspect.LiteralType(values=values):
            return [str(value) for value in values]
        case inspect.UnionType(types=types):
            return [word for member in types for word in _candidates(member)]
    return []
