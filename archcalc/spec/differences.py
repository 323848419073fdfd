"""What one document changes of another, in the fewest fields that say it: `override`, read backwards."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from archcalc.spec.document import Document, is_merge, matching_places, with_about
from archcalc.spec.field_types import Path, type_at, value_at, with_defaults, without_defaults


def differences(base: Document, changed: Document) -> Document:
    """The changes such that `override(base, changes)` is the spec that `changed` is.

    A field is named by the shortest tail of its path that names only places where this value is new, so that a change
    in all layers is one entry. `changed` need not be valid, as long as its fields are the spec's.
    """
    now, wanted = with_defaults(with_about(base)), with_defaults(with_about(changed))
    found: Document = {}
    # What takes a whole part's place comes first: it leaves fewer places that a name could mean.
    for path in sorted(_changed(now, wanted, ()), key=lambda path: not isinstance(value_at(wanted, path), dict | list)):
        value = value_at(wanted, path)
        if value_at(now, path) != value:
            said = without_defaults(value, type_at(wanted, path))
            key = _key(now, wanted, path, value)
            found[key] = said
            for holder, field, _ in matching_places(now, key, said):
                holder[field] = copy.deepcopy(value)
    return found


def _changed(old: Any, new: Any, path: Path) -> Iterator[Path]:
    """The places that differ, each where the two part: a field, a part of another kind, a list of another length."""
    if old == new:
        return
    if is_merge(old, new):
        for key in new:
            if key in old:
                yield from _changed(old[key], new[key], (*path, key))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, pair in enumerate(zip(old, new, strict=True)):
            yield from _changed(*pair, (*path, index))
    else:
        yield path


def _key(now: Document, wanted: Document, path: Path, value: Any) -> str:
    """The shortest tail of the path that names nothing but places to be changed so; never a bare index."""
    keys = [str(key) for key in path]
    for start in range(len(path) - 1, 0, -1):
        tail = ".".join(keys[start:])
        if isinstance(path[start], str) and _is_right(now, wanted, tail, keys, value):
            return tail
    return ".".join(keys)


def _is_right(now: Document, wanted: Document, tail: str, keys: list[str], value: Any) -> bool:
    places = matching_places(now, tail, value)
    return any(list(path) == keys for _, _, path in places) and all(
        _wanted_at(wanted, path) == (True, value) and holder[key] != value and not is_merge(holder[key], value)
        for holder, key, path in places
    )


def _wanted_at(wanted: Any, path: tuple[str, ...]) -> tuple[bool, Any]:
    """Whether there is such a place in what is wanted, and what stands there."""
    try:
        for key in path:
            wanted = wanted[int(key) if isinstance(wanted, list) else key]
    except (KeyError, IndexError, TypeError):
        return False, None
    return True, wanted
