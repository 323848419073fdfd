"""Append, duplicate, remove and move items of a list: runs of a stack, layers of a run."""

from __future__ import annotations

import copy
from typing import Any

from archcalc.dashboard.form.document_paths import replace_value
from archcalc.spec.document import Document
from archcalc.spec.field_types import Path, value_at


def duplicate_item(document: Document, path: Path) -> Document:
    """Return the document with a copy after the item. The copy has no name, because names are unique, and one layer."""
    list_path, index = path[:-1], path[-1]
    items = list(value_at(document, list_path))
    assert isinstance(index, int)
    items.insert(index + 1, copy.deepcopy(items[index]) | _copy_fields(items[index]))
    return _update_n_layers(replace_value(document, list_path, items), list_path)


def append_item(document: Document, path: Path) -> Document:
    """Return the document with a copy of the last item at the end; see `duplicate_item`."""
    list_path = path[:-1]
    return duplicate_item(document, (*list_path, len(value_at(document, list_path)) - 1))


def remove_item(document: Document, path: Path) -> Document:
    """Return the document without the item."""
    list_path = path[:-1]
    items = [item for index, item in enumerate(value_at(document, list_path)) if index != path[-1]]
    return _update_n_layers(replace_value(document, list_path, items), list_path)


def move_item(document: Document, path: Path, step: int) -> Document:
    """Return the document with the item moved by `step` positions."""
    list_path, index = path[:-1], path[-1]
    assert isinstance(index, int)
    items = list(value_at(document, list_path))
    items.insert(index + step, items.pop(index))
    changed: Document = replace_value(document, list_path, items)
    return changed


def _copy_fields(item: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in {"name": None, "count": 1}.items() if key in item}


def _update_n_layers(document: Document, path: Path) -> Document:
    """Set `n_layers` to the sum of the counts, if it is stated and all runs state their count."""
    stack = value_at(document, path[:-1])
    counts = [run.get("count") for run in value_at(document, path)]
    is_stated = isinstance(stack, dict) and type(stack.get("n_layers")) is int
    if not is_stated or not all(type(count) is int for count in counts):
        return document
    changed: Document = replace_value(document, (*path[:-1], "n_layers"), sum(counts))
    return changed
