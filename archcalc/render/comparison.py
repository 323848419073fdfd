"""Two specs side by side, or many."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from archcalc.analysis.params import Summary, summary
from archcalc.analysis.value_names import COMPONENT_NAMES
from archcalc.ledger.build import build
from archcalc.ledger.leaves import COMPONENTS
from archcalc.render.page import Block, Column, Page, Table, Text
from archcalc.spec import Spec
from archcalc.spec.document import flat_fields
from archcalc.words import Message, msg

_TOTALS = ("total", "untied", "active", "non_embedding")
_FIGURE_NAMES: dict[str, Message] = {
    **COMPONENT_NAMES,
    "total": msg("total"),
    "untied": msg("untied"),
    "active": msg("active"),
    "non_embedding": msg("non_embedding"),
}
_NOT_ARCHITECTURE = ("name", "about")


def figures(found: Summary) -> dict[str, int]:
    """Components, then totals, by name."""
    totals = {name: int(found[name]) for name in _TOTALS}  # type: ignore[literal-required]
    return {**{component: found["by_component"][component] for component in COMPONENTS}, **totals}


def diff_page(left: Spec, right: Spec) -> Page:
    """What differs between two specs: parameters by component, then fields."""
    blocks: list[Block] = [_differences(left, right)]
    fields = changed_fields(left, right)
    if fields:
        columns = (Column(msg("field")), *map(Column, names((left, right))))
        blocks.append(Table(msg("Fields that differ"), columns, [(path, _text(a), _text(b)) for path, a, b in fields]))
    else:
        blocks.append(Text("", [msg("the architectures are the same")]))
    return Page(" → ".join(_titles(left, right)), msg("parameters, component by component"), blocks)


def names(specs: Sequence[Spec]) -> list[str]:
    """What each spec's column is called: its name, numbered where others before it have the same."""
    found = [spec.name for spec in specs]
    before = [found[:i].count(name) for i, name in enumerate(found)]
    return [f"{name} ({n + 1})" if n else name for name, n in zip(found, before, strict=True)]


def _titles(left: Spec, right: Spec) -> list[str]:
    """Both by name; by title where only that tells them apart."""
    if left.name != right.name:
        return [left.name, right.name]
    return [spec.label for spec in (left, right)]


def _differences(left: Spec, right: Spec) -> Table:
    a, b = (figures(summary(build(spec))) for spec in (left, right))
    columns = (
        Column(msg("parameters")),
        *(Column(name, "count") for name in names((left, right))),
        Column(msg("difference"), "signed"),
        Column(msg("change"), "change"),
    )
    rows = [
        (_FIGURE_NAMES[name], a[name], b[name], b[name] - a[name], (b[name] - a[name]) / a[name] if a[name] else None)
        for name in a
        if a[name] or b[name]
    ]
    return Table("", columns, rows, n_sums=len(_TOTALS))


def diff_data(left: Spec, right: Spec) -> dict[str, Any]:
    """The same as plain data."""
    a, b = (figures(summary(build(spec))) for spec in (left, right))
    return {
        "left": left.name,
        "right": right.name,
        "params": {name: {"left": a[name], "right": b[name], "difference": b[name] - a[name]} for name in a},
        "fields": [{"field": path, "left": x, "right": y} for path, x, y in changed_fields(left, right)],
    }


def changed_fields(left: Spec, right: Spec) -> list[tuple[str, Any, Any]]:
    """(path, left's value, right's) of every field of the architecture that differs."""
    a, b = flat_fields(left), flat_fields(right)
    paths = [path for path in _in_order(list(a), list(b)) if path.split(".")[0] not in _NOT_ARCHITECTURE]
    return [(path, a.get(path), b.get(path)) for path in paths if a.get(path) != b.get(path)]


def _in_order(left: list[str], right: list[str]) -> list[str]:
    """All paths in the left's order, those of the right alone after the one that stands before them there."""
    known, after, last = set(left), {"": list[str]()}, ""
    for path in right:
        if path in known:
            last = path
        else:
            after.setdefault(last, []).append(path)
    return [*after[""], *(each for path in left for each in (path, *after.get(path, ())))]


def compare_page(specs: Sequence[Spec]) -> Page:
    """Many specs, a column each."""
    columns = (Column(""), *(Column(name, "count") for name in names(specs)))
    found = [figures(summary(build(spec))) for spec in specs]
    sizes = [(name, *(getattr(spec, name) for spec in specs)) for name in ("vocab_size", "n_ctx", "d_model")]
    depths = ("n_layers", *(sum(each.stack.n_layers or 0 for each in spec.stacks) for spec in specs))
    rows = [
        (_FIGURE_NAMES[name], *(each[name] for each in found)) for name in found[0] if any(each[name] for each in found)
    ]
    return Page(msg("Parameters side by side"), "", [Table("", columns, [*sizes, depths, *rows], n_sums=len(_TOTALS))])


def _text(value: Any) -> str:
    """A field's value as a file would say it."""
    return "—" if value is None else value if isinstance(value, str) else json.dumps(value)
