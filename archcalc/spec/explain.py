"""What the spec's types allow at a field, in words: the second half of an error message.

Imported only when there is an error to explain.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec.inspect as inspect

from archcalc.errors import InputError, nearest, shown
from archcalc.spec.about import About
from archcalc.spec.shape import holder, keys_of, type_at, value_at

_PROBLEM = re.compile(r"^(?P<what>.*?)(?: - at (?P<key>`key` in )?`(?P<path>\$.*)`)?$", re.DOTALL)
_FIELD = re.compile(r"`(?P<field>.*)`", re.DOTALL)


def explained(message: str, document: Any) -> InputError:
    """msgspec's message in our form: the field's path, what was found there, what is allowed."""
    match = _PROBLEM.match(message)
    assert match is not None, "the pattern takes any text"
    what, path = match["what"], (match["path"] or "$")[1:].lstrip(".")
    keys = keys_of(path)
    if match["key"]:
        key = next(key for key in value_at(document, keys) if not isinstance(key, str))
        return InputError(f"the key {shown(key)} is not text", where=path, allowed="names as keys")
    if "unknown field" in what:
        return _unknown(_name_in(what), path, holder(type_at(document, keys), value_at(document, keys)))
    if "missing required field" in what:
        field = _name_in(what)
        allowed = in_words(type_at(document, (*keys, field)))
        return InputError(f"the required field {field!r} is missing", where=path, allowed=allowed)
    kind = type_at(document, keys)
    found = value_at(document, keys)
    hint = nearest(found, _words(kind)) if isinstance(found, str) else ""
    return InputError(f"found {_as_written(found)}{hint}", where=path, allowed=in_words(kind))


def _as_written(value: Any) -> str:
    """A value as a file would say it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return "an empty list" if value == [] else shown(value)


def in_words(kind: inspect.Type | None) -> str:
    """What values a type takes, for a person."""
    match kind:
        case inspect.IntType(ge=ge, le=le):
            return f"an integer from {ge} to {le}"
        case inspect.FloatType(gt=gt, ge=ge, lt=lt, le=le):
            bounds = [
                f"{sign} {bound:g}" for sign, bound in ((">", gt), ("≥", ge), ("<", lt), ("≤", le)) if bound is not None
            ]
            return " and ".join([f"a number {bounds[0]}", *bounds[1:]]) if bounds else "a number"
        case inspect.BoolType():
            return "true or false"
        case inspect.StrType(pattern=pattern, max_length=most):
            bounded = f"text of 1 to {most} characters" if most else "text"
            return "lower-case letters, digits and _, up to 31, a letter first" if pattern else bounded
        case inspect.NoneType():
            return "null"
        case inspect.LiteralType(values=values):
            return ", ".join(map(str, values))
        case inspect.UnionType(types=types):
            return _any_of([in_words(member) for member in types])
        case inspect.StructType(tag=tag):
            return f"a mapping of kind {tag}" if tag else "a mapping"
        case inspect.VarTupleType(max_length=most):
            return f"a list of 1 to {most} items" if most else "a list"
    return ""


def _any_of(words: list[str]) -> str:
    """'a mapping of kind x', 'a mapping of kind y', 'null' → 'a mapping of kind x or y, or null'."""
    start = "a mapping of kind "
    kinds = [word.removeprefix(start) for word in words if word.startswith(start)]
    others = [word for word in words if not word.startswith(start)]
    return ", or ".join(([start + " or ".join(kinds)] if kinds else []) + others)


def _unknown(field: str, path: str, kind: inspect.Type | None) -> InputError:
    names = _words(kind) + ([] if path else list(About.__struct_fields__))  # which a file may say at its top
    return InputError(f"unknown key {shown(field)}{nearest(field, names)}", where=path, allowed=", ".join(names))


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
