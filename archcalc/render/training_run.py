"""What has come of a training run, as a page."""

from __future__ import annotations

from typing import Any

from archcalc.render.page import Column, Page, Table, Text

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
    Column("steps", "count"),
    Column("tokens", "count"),
    Column("FLOPs", "human"),
    Column("time", "seconds"),
    Column("tokens/s", "count"),
    Column("last loss", "decimal"),
    Column("held out, nats", "decimal"),
    Column("a character", "decimal"),
    Column("right", "percent"),
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
    by_kind = {kind: [name for name, one in KINDS.items() if one == kind] for kind in ("exact", "measured")}
    said = "; ".join(f"{kind}: {', '.join(names).replace('_', ' ')}" for kind, names in by_kind.items())
    note = Text("The model", [f"{found['checkpoint']}: archcalc generate {found['checkpoint']} --prompt …"])
    return Page(f"{found['model']}, trained", said, [Table("", COLUMNS, [row]), note])
