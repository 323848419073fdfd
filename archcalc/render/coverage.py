"""Which model types are read, and what was compared, as a page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from archcalc.coverage import CHECKS, Covered
from archcalc.render.page import Column, Page, Table
from archcalc.words import msg

NOTE = (
    "Compared with transformers: every tensor's name and shape; FLOPs; logits to 1e-4 of their largest; and the same "
    "token by token. Made by 'archcalc coverage'."
)


def page(found: Sequence[Covered]) -> Page:
    """Return a row for each model type, and how many are exact."""
    exact = Counter(check for one in found for check in CHECKS if getattr(one, check) == "exact")
    heads = (msg("parameters"), msg("FLOPs"), "logits", "cached decoding")
    columns = (
        Column(msg("model type")),
        Column(msg("class")),
        Column(msg("stacks")),
        *map(Column, heads),
        Column(msg("missing")),
    )
    rows: list[Sequence[Any]] = [
        (one.model_type, one.class_name, one.stacks, *(getattr(one, check) for check in CHECKS), one.missing)
        for one in found
    ]
    sums = (f"{len(found)} model types", "", "exact:", *(f"{exact[check]}" for check in CHECKS), "")
    return Page(msg("Model types"), NOTE, [Table("", columns, [*rows, sums], n_sums=1)])


def data(found: Sequence[Covered]) -> list[dict[str, Any]]:
    """The same, as plain data."""
    return [msgspec.to_builtins(one) for one in found]
