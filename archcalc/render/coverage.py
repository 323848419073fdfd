"""Which model types are read, and what was compared, as a page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from archcalc.coverage import CHECKS, ModelTypeCoverage, State
from archcalc.render.page import Column, Page, Table
from archcalc.words import Message, in_context, msg

NOTE = msg(
    "Compared with transformers: every tensor's name and shape; FLOPs; logits to 1e-4 of their largest; and the same "
    "token by token. Made by 'archcalc coverage'."
)
STATES: dict[State, Message] = {
    "exact": in_context("of a check", "exact"),
    "differs": msg("differs"),
    "refused": msg("refused"),
    "not checked": msg("not checked"),
    "not read": msg("not read"),
    "none": in_context("of a check", "none"),
}


def page(found: Sequence[ModelTypeCoverage]) -> Page:
    """Return a row for each model type, and how many are exact."""
    exact = Counter(check for one in found for check in CHECKS if getattr(one, check) == "exact")
    columns = (
        Column(msg("model type")),
        Column(msg("class")),
        Column(msg("stacks")),
        Column(msg("parameters")),
        Column(msg("FLOPs")),
        Column("logits"),
        Column(msg("cached decoding")),
        Column(msg("missing")),
    )
    rows: list[Sequence[Any]] = [
        (one.model_type, one.class_name, one.stacks, *(STATES[getattr(one, check)] for check in CHECKS), one.missing)
        for one in found
    ]
    sums = (
        msg("{n} model types", n=len(found)),
        "",
        in_context("of a check", "exact:"),
        *(f"{exact[check]}" for check in CHECKS),
        "",
    )
    return Page(msg("Model types"), NOTE, [Table("", columns, [*rows, sums], n_sums=1)])


def data(found: Sequence[ModelTypeCoverage]) -> list[dict[str, Any]]:
    """The same, as plain data."""
    return [msgspec.to_builtins(msgspec.structs.replace(one, missing=str(one.missing))) for one in found]
