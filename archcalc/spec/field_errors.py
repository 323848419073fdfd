"""What the spec's types allow at a field, in words: the second half of an error message.

Imported only when there is an error to explain.
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
    """msgspec's message in our form: the field's path, what was found there, what is allowed."""
    match = _PROBLEM.match(message)
    assert match is not None, "the pattern takes any text"
    what, path = match["what"], (match["path"] or "$")[1:].lstrip(".")
    keys = parse_path(path)
    if match["key"]:
        key = next(key for key in value_at(document, keys) if not isinstance(key, str))
        return InputError(msg("the key {key} is not text", key=shown(key)), where=path, allowed=msg("names as keys"))
    if "unknown field" in what:
        return _unknown(_name_in(what), path, container_type(type_at(document, keys), value_at(document, keys)))
    if "missing required field" in what:
        field = _name_in(what)
        allowed = allowed_values(type_at(document, (*keys, field)))
        return InputError(msg("the required field {field} is missing", field=repr(field)), where=path, allowed=allowed)
    kind = type_at(document, keys)
    found = value_at(document, keys)
    hint = nearest(found, _words(kind)) if isinstance(found, str) else ""
    return InputError(
        msg("found {as_written}{hint}", as_written=_as_written(found), hint=hint),
        where=path,
        allowed=allowed_values(kind),
    )


def _as_written(value: Any) -> str | Message:
    """A value as a file would say it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return msg("an empty list") if value == [] else shown(value)


_PLAIN: dict[type, str | Message] = {inspect.BoolType: msg("true or false"), inspect.NoneType: "null"}


def allowed_values(kind: inspect.Type | None) -> str | Message:
    """Return what values a type takes, for a person."""
    if (plain := _PLAIN.get(type(kind))) is not None:
        return plain
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
    """Kinds of mappings as one, then whatever else: 'a mapping of kind x or y, or null'."""
    tags = [str(member.tag) for member in types if isinstance(member, inspect.StructType) and member.tag]
    mappings = [msg("a mapping of kind {kinds}", kinds=joined(msg(" or "), tags))] if tags else []
    others = [allowed_values(member) for member in types if getattr(member, "tag", None) is None]
    return joined(msg(", or "), [*mappings, *others])


def _unknown(field: str, path: str, kind: inspect.Type | None) -> InputError:
    names = _words(kind) + ([] if path else list(About.__struct_fields__))  # which a file may say at its top
    return InputError(
        msg("unknown key {field}{hint}", field=shown(field), hint=nearest(field, names)),
        where=path,
        allowed=", ".join(names),
    )


def _name_in(what: str) -> str:
    match = _FIELD.search(what)
    return match["field"] if match else ""


def _words(kind: inspect.Type | None) -> list[str]:
    """The names a slip may have meant: a struct's fields, a union's kinds, a literal's values."""
    match kind:
        case inspect.StructType(fields=fields, tag_field=tag_field):
            return ([tag_field] if tag_field else []) + [field.encode_name for field in fields]
        case inspect.LiteralType(values=values):
            return [str(value) for value in values]
        case inspect.UnionType(types=types):
            return [word for member in types for word in _words(member)]
    return []
