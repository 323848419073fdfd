"""Items of a list (a stack's runs, a run's layers) added, taken out, doubled and moved."""

from __future__ import annotations

import copy
from typing import Any

from archcalc.dashboard.form.places import replaced
from archcalc.spec.document import Document
from archcalc.spec.field_types import Path, value_at


def doubled(document: Document, path: Path) -> Document:
    """A copy of the item right after it. A copy bears no name, for names tell items apart, and takes one layer."""
    before, index = path[:-1], path[-1]
    items = list(value_at(document, before))
    assert isinstance(index, int)
    items.insert(index + 1, copy.deepcopy(items[index]) | _own(items[index]))
    return _summed(replaced(document, before, items), before)


def added(document: Document, path: Path) -> Document:
    """One more item at the list's end, like its last; see `doubled`."""
    before = path[:-1]
    return doubled(document, (*before, len(value_at(document, before)) - 1))


def removed(document: Document, path: Path) -> Document:
    """The list without the item."""
    before = path[:-1]
    items = [item for index, item in enumerate(value_at(document, before)) if index != path[-1]]
    return _summed(replaced(document, before, items), before)


def moved(document: Document, path: Path, step: int) -> Document:
    """The item `step` places further on."""
    before, index = path[:-1], path[-1]
    assert isinstance(index, int)
    items = list(value_at(document, before))
    items.insert(index + step, items.pop(index))
    found: Document = replaced(document, before, items)
    return found


def _own(item: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in {"name": None, "count": 1}.items() if key in item}


def _summed(document: Document, path: Path) -> Document:
    """A stack whose runs all state their count has as many layers as they sum to."""
    stack = value_at(document, path[:-1])
    counts = [run.get("count") for run in value_at(document, path)]
    stated = isinstance(stack, dict) and type(stack.get("n_layers")) is int
    if not stated or not all(type(count) is int for count in counts):
        return document
    summed: Document = replaced(document, (*path[:-1], "n_layers"), sum(counts))
    return summed
