"""What has come of a training run, as a page."""

from __future__ import annotations

from typing import Any

from archcalc.render.page import Column, Page, Table, Text
from archcalc.words import msg

KINDS = {
    "steps": "exact",
    "tokens": "exact",
    "flops": "exact",
    "seconds": "measured",
    "tokens_per_second": "measured",
    "loss": "measured",
    "held_out": "measured",
}


def data(found: dict[str, Any]) -> dict[str, Any]:
    """The figures, and which of them are exact."""
    return found | {"kinds": KINDS}


COLUMNS = (
    Column(msg("steps"), "count"),
    Column(msg("tokens"), "count"),
    Column(msg("FLOPs"), "human"),
    Column(msg("time"), "seconds"),
    Column(msg("tokens/s"), "count"),
    Column(msg("last loss"), "decimal"),
    Column(msg("held out, nats"), "decimal"),
    Column(msg("a character"), "decimal"),
    Column(msg("right"), "percent"),
)


def page(found: dict[str, Any]) -> Page:
    """One row of figures, and where the model lies."""
    held = found["held_out"]
    row = (
        found["steps"],
        found["tokens"],
        found["flops"],
        found["seconds"],
        round(found["tokens_per_second"]),
        found["loss"],
        held["nats"],
        held["nats_per_character"],
        held["right"],
    )
    by_kind = {kind: [name for name, one in KINDS.items() if one == kind] for kind in (msg("exact"), msg("measured"))}
    said = "; ".join(f"{kind}: {', '.join(names).replace('_', ' ')}" for kind, names in by_kind.items())
    note = Text(msg("The model"), [f"{found['checkpoint']}: archcalc generate {found['checkpoint']} --prompt …"])
    return Page(msg("{found}, trained", found=found["model"]), said, [Table("", COLUMNS, [row]), note])
