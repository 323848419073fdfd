"""A spec as a plain mapping: decoded, overridden, and written back.

A *document* is what YAML or JSON holds: dicts, lists, scalars. `decode` makes a Spec of it and says where it cannot.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from archcalc.errors import InputError, nearest, shown
from archcalc.spec.about import About
from archcalc.spec.model import Spec
from archcalc.spec.resolve import resolve
from archcalc.words import msg

Document = dict[str, Any]


def decode(document: Document) -> Spec:
    """The resolved Spec of a document.

    Raises InputError naming the field's path, what was found there and what is allowed.
    """
    return resolve(convert(document))


def convert(document: Document) -> Spec:
    """The Spec of a document as it is written, what it leaves out not filled in; see `decode`."""
    try:
        spec = msgspec.convert(with_about(document), Spec)
        msgspec.json.encode(spec)
    except msgspec.ValidationError as error:
        from archcalc.spec.field_errors import field_error

        raise field_error(str(error), document) from None
    except UnicodeEncodeError as error:
        raise InputError(
            msg("the text {object} holds half a character", object=shown(error.object)), allowed=msg("Unicode text")
        ) from None
    return spec


def with_about(document: Document) -> Document:
    """The document with what it says about the model under `about`; a file may say `title: …` at its top as well."""
    loose = {key: document[key] for key in About.__struct_fields__ if key in document}
    about = document.get("about", {})
    if not loose or not isinstance(about, dict):
        return document
    if twice := loose.keys() & about.keys():
        key = min(twice)
        raise InputError(msg("stands here and as about.{key}", key=key), where=key, allowed=msg("one of them"))
    return {key: value for key, value in document.items() if key not in loose} | {"about": about | loose}


def encode(spec: Spec) -> Document:
    """The document of a spec: `decode(encode(spec)) == spec`. Fields that stand at their defaults are left out."""
    document: Document = _compact(spec)
    return document


def _compact(value: Any) -> Any:
    """Builtins of a tree of parts, defaults left out but for the kind."""
    if isinstance(value, tuple):
        return [_compact(item) for item in value]
    if not isinstance(value, msgspec.Struct):
        return value
    config = value.__struct_config__
    kind = {config.tag_field: config.tag} if config.tag_field else {}
    fields = [(field, getattr(value, field.name)) for field in msgspec.structs.fields(value)]
    return kind | {field.name: _compact(found) for field, found in fields if field.required or found != field.default}


def flat_fields(spec: Spec) -> dict[str, Any]:
    """Every field of a spec that holds a plain value, by its path ('decoder.runs.0.pattern.0.ffn.d_ff' → 28672)."""
    document = msgspec.json.decode(msgspec.json.encode(spec))
    leaves = ((path, holder[key]) for holder, key, path in _walk(document, ()))
    return {".".join(path): value for path, value in leaves if not isinstance(value, dict | list)}


def override(document: Document, changes: Document) -> Document:
    """The document with `changes` applied: what `--set` and `base:` mean.

    A key is a field of the spec itself, or else the name of a field deeper down or the tail of its path
    (`n_layers`, `ffn.bias`, `decoder.runs.0.count`): it is set wherever it stands; a mapping, wherever none but a
    mapping or null stands (`attention` is a part of a layer and also a dropout's number). A mapping is merged into
    the one it finds, unless its `kind` differs; a list takes the old one's place.
    """
    full: Document = msgspec.json.decode(msgspec.json.encode(convert(document)))
    for key, value in with_about(changes).items():
        if not isinstance(key, str):
            raise InputError(msg("the key {key} is not text", key=shown(key)), allowed=msg("names as keys"))
        places = matching_places(full, key, value)
        if not places:
            raise InputError(
                msg("there is no field {key} here{hint}", key=repr(key), hint=nearest(key, _field_names(full))),
                where=key,
            )
        for holder, field, _ in places:
            holder[field] = _merged(holder[field], value)
    return full


def matching_places(full: Document, key: str, value: Any) -> list[tuple[Any, Any, tuple[str, ...]]]:
    """The places (holder, its key, the path) of a full document that `key` names for such a value; see `override`."""
    places = list(_places(full, key.split(".")))
    return [place for place in places if _fits(place[0][place[1]], value)] or places


def _fits(old: Any, new: Any) -> bool:
    return old is None or not isinstance(new, dict) or isinstance(old, dict)


def is_merge(old: Any, new: Any) -> bool:
    """Whether a change to `new` keeps what it does not name of `old`."""
    return isinstance(old, dict) and isinstance(new, dict) and new.get("kind", old.get("kind")) == old.get("kind")


def _merged(old: Any, new: Any) -> Any:
    if is_merge(old, new):
        return old | {key: _merged(old.get(key), value) for key, value in new.items()}
    return _copied(new)  # each place its own: a later change of one is none of the others


def _copied(value: Any) -> Any:
    """The same leaves in mappings and lists of their own."""
    if isinstance(value, dict):
        return {key: _copied(inner) for key, inner in value.items()}
    return [_copied(inner) for inner in value] if isinstance(value, list) else value


def _places(full: Document, tail: list[str]) -> Iterator[tuple[Any, Any, tuple[str, ...]]]:
    """Every (holder, key, path) whose path ends in `tail`; the one that starts at the root alone, if there is one."""
    if len(tail) == 1 and tail[0] in full:
        yield full, tail[0], (tail[0],)
        return
    found = [place for place in _walk(full, ()) if list(place[2][-len(tail) :]) == tail]
    yield from [place for place in found if len(place[2]) == len(tail)] or found


def _walk(node: Any, path: tuple[str, ...]) -> Iterator[tuple[Any, Any, tuple[str, ...]]]:
    """Every (holder, key, path) of a document."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in list(items):
        here = (*path, str(key))
        yield node, key, here
        if isinstance(value, dict | list):
            yield from _walk(value, here)


def _field_names(full: Document) -> set[str]:
    return {path[-1] for _, _, path in _walk(full, ()) if not path[-1].isdigit()}
