"""Specs as plain data: decode, override, encode.

A *document* is the content of a YAML or JSON file: dicts, lists, scalars. `decode` turns it into a Spec.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from archcalc import typed_data
from archcalc.errors import InputError, nearest, shown
from archcalc.spec.about import About
from archcalc.spec.model import Spec
from archcalc.spec.resolve import resolve
from archcalc.words import msg

Document = dict[str, Any]


def decode(document: Document) -> Spec:
    """Return the resolved Spec of a document.

    Raises InputError naming the field's path, what was found there and what is allowed.
    """
    return resolve(convert(document))


def convert(document: Document) -> Spec:
    """Return the Spec of a document without resolving it; see `decode`."""
    try:
        spec = typed_data.convert(with_about(document), Spec)
        msgspec.json.encode(spec)
    except msgspec.ValidationError as error:
        from archcalc.spec.field_errors import field_error

        raise field_error(str(error), document) from None
    except UnicodeEncodeError as error:
        raise InputError(
            msg("the text {object} contains half a character", object=shown(error.object)), allowed=msg("Unicode text")
        ) from None
    return spec


def with_about(document: Document) -> Document:
    """Return the document with its metadata under `about`; a file may also state `title: …` at its top level."""
    top_level = {key: document[key] for key in About.__struct_fields__ if key in document}
    about = document.get("about", {})
    if not top_level or not isinstance(about, dict):
        return document
    if repeated := top_level.keys() & about.keys():
        key = min(repeated)
        raise InputError(msg("also stated as about.{key}", key=key), where=key, allowed=msg("one of them"))
    return {key: value for key, value in document.items() if key not in top_level} | {"about": about | top_level}


def encode(spec: Spec) -> Document:
    """Return the document of a spec without default values: `decode(encode(spec)) == spec`."""
    document: Document = _compact(spec)
    return document


def _compact(value: Any) -> Any:
    """Return plain data of a tree of parts, without default values but with each kind."""
    if isinstance(value, tuple):
        return [_compact(item) for item in value]
    if not isinstance(value, msgspec.Struct):
        return value
    config = value.__struct_config__
    kind = {config.tag_field: config.tag} if config.tag_field else {}
    fields = [(field, getattr(value, field.name)) for field in msgspec.structs.fields(value)]
    return kind | {field.name: _compact(item) for field, item in fields if field.required or item != field.default}


def flat_fields(spec: Spec) -> dict[str, Any]:
    """Return every field with a scalar value by its path ('decoder.runs.0.pattern.0.ffn.d_ff': 28672)."""
    document = msgspec.json.decode(msgspec.json.encode(spec))
    leaves = ((path, holder[key]) for holder, key, path in _walk(document, ()))
    return {".".join(path): value for path, value in leaves if not isinstance(value, dict | list)}


def override(document: Document, changes: Document) -> Document:
    """Return the document with `changes` applied, as `--set` and `base:` do.

    A key is a field of the spec itself, or else the name or the tail of the path of a deeper field (`n_layers`,
    `ffn.bias`, `decoder.runs.0.count`), which is set everywhere. A mapping is set only where the old value is a mapping
    or null (`attention` is a part of a layer, but also a number of dropout). It is merged into the old mapping, unless
    its `kind` differs. A list replaces the old list.
    """
    full: Document = msgspec.json.decode(msgspec.json.encode(convert(document)))
    for key, value in with_about(changes).items():
        if not isinstance(key, str):
            raise InputError(msg("the key {key} is not text", key=shown(key)), allowed=msg("text keys"))
        places = matching_places(full, key, value)
        if not places:
            raise InputError(
                msg("there is no field {key}{hint}", key=repr(key), hint=nearest(key, _similar_paths(full, key))),
                where=key,
            )
        for holder, field, _ in places:
            holder[field] = _merge(holder[field], value)
    return full


def _similar_paths(document: Document, key: str) -> list[str]:
    """Return the fields that a key may mean: of a dotted key, those with the same parent, if there are any."""
    names, (parent, _, _) = list(_field_names(document)), key.rpartition(".")
    siblings = [f"{parent}.{name}" for name in names] if parent else []
    return [path for path in siblings if matching_places(document, path, None)] or names


def matching_places(full: Document, key: str, value: Any) -> list[tuple[Any, Any, tuple[str, ...]]]:
    """Return the places (container, key, path) of a full document that `key` matches; see `override`."""
    places = list(_places(full, key.split(".")))
    return [place for place in places if _accepts(place[0][place[1]], value)] or places


def _accepts(old: Any, new: Any) -> bool:
    return old is None or not isinstance(new, dict) or isinstance(old, dict)


def is_merge(old: Any, new: Any) -> bool:
    """Return whether `new` is merged into `old`, which keeps its other fields."""
    return isinstance(old, dict) and isinstance(new, dict) and new.get("kind", old.get("kind")) == old.get("kind")


def _merge(old: Any, new: Any) -> Any:
    if is_merge(old, new):
        return old | {key: _merge(old.get(key), value) for key, value in new.items()}
    return _copy(new)  # each place has its own copy, so later changes do not affect the others


def _copy(value: Any) -> Any:
    """Return a copy of all mappings and lists."""
    if isinstance(value, dict):
        return {key: _copy(inner) for key, inner in value.items()}
    return [_copy(inner) for inner in value] if isinstance(value, list) else value


def _places(full: Document, tail: list[str]) -> Iterator[tuple[Any, Any, tuple[str, ...]]]:
    """Yield every (container, key, path) whose path ends in `tail`; only the one at the root, if there is one."""
    if len(tail) == 1 and tail[0] in full:
        yield full, tail[0], (tail[0],)
        return
    matches = [place for place in _walk(full, ()) if list(place[2][-len(tail) :]) == tail]
    yield from [place for place in matches if len(place[2]) == len(tail)] or matches


def _walk(node: Any, path: tuple[str, ...]) -> Iterator[tuple[Any, Any, tuple[str, ...]]]:
    """Yield every (container, key, path) of a document."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in list(items):
        child_path = (*path, str(key))
        yield node, key, child_path
        if isinstance(value, dict | list):
            yield from _walk(value, child_path)


def _field_names(full: Document) -> set[str]:
    return {path[-1] for _, _, path in _walk(full, ()) if not path[-1].isdigit()}
