"""The differences of two documents in as few fields as possible: the inverse of `override`."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from archcalc.spec.document import Document, is_merge, matching_places, with_about
from archcalc.spec.field_types import Path, type_at, value_at, with_defaults, without_defaults


def differences(base: Document, changed: Document) -> Document:
    """Return the changes for which `override(base, changes)` gives the spec of `changed`.

    A key is the shortest tail of the path that matches only places that need this value, so a change in all layers is
    one entry. `changed` may be invalid, if its fields are those of a spec.
    """
    current, target = with_defaults(with_about(base)), with_defaults(with_about(changed))
    changes: Document = {}
    # A replaced part comes first: fewer places remain that a name could match.
    for path in sorted(
        _changed_paths(current, target, ()), key=lambda path: not isinstance(value_at(target, path), dict | list)
    ):
        value = value_at(target, path)
        if value_at(current, path) != value:
            change = without_defaults(value, type_at(target, path))
            key = _key(current, target, path, value)
            changes[key] = change
            for holder, field, _ in matching_places(current, key, change):
                holder[field] = copy.deepcopy(value)
    return changes


def _changed_paths(old: Any, new: Any, path: Path) -> Iterator[Path]:
    """Yield the paths that differ: fields, parts of different kinds, lists of different lengths."""
    if old == new:
        return
    if is_merge(old, new):
        for key in new:
            if key in old:
                yield from _changed_paths(old[key], new[key], (*path, key))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, pair in enumerate(zip(old, new, strict=True)):
            yield from _changed_paths(*pair, (*path, index))
    else:
        yield path


def _key(current: Document, target: Document, path: Path, value: Any) -> str:
    """Return the shortest tail of the path that matches only places with this change; never a bare index."""
    keys = [str(key) for key in path]
    for start in range(len(path) - 1, 0, -1):
        tail = ".".join(keys[start:])
        if isinstance(path[start], str) and _is_exact(current, target, tail, keys, value):
            return tail
    return ".".join(keys)


def _is_exact(current: Document, target: Document, tail: str, keys: list[str], value: Any) -> bool:
    places = matching_places(current, tail, value)
    return any(list(path) == keys for _, _, path in places) and all(
        _value_or_missing(target, path) == (True, value) and holder[key] != value and not is_merge(holder[key], value)
        for holder, key, path in places
    )


def _value_or_missing(target: Any, path: tuple[str, ...]) -> tuple[bool, Any]:
    """Return whether `target` has this path, and the value there."""
    try:
        for key in path:
            target = target[int(key) if isinstance(target, list) else key]
    except (KeyError, IndexError, TypeError):
        return False, None
    return True, target
