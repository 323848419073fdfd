"""What has come of a training run, as a page."""

from __future__ import annotations

from typing import Any

from archcalc.analysis.value_names import SURENESS
from archcalc.render.page import Column, Page, Table, Text
from archcalc.words import Message, joined, msg

KINDS = {
    "steps": "exact",
    "tokens": "exact",
    "flops": "exact",
    "seconds": "measured",
    "tokens_per_second": "measured",
    "loss": "measured",
    "held_out": "measured",
}
NAMES: dict[str, Message] = {
    "steps": msg("steps"),
    "tokens": msg("tokens"),
    "flops": msg("flops"),
    "seconds": msg("seconds"),
    "tokens_per_second": msg("tokens per second"),
    "loss": msg("loss"),
    "held_out": msg("held out"),
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
    note = Text(msg("The model"), [f"{found['checkpoint']}: archcalc generate {found['checkpoint']} --prompt …"])
    return Page(msg("{found}, trained", found=found["model"]), _sureness(), [Table("", COLUMNS, [row]), note])


def _sureness() -> Message:
    """Which figures are exact, and which are measured."""
    by_kind = {kind: [NAMES[name] for name, one in KINDS.items() if one == kind] for kind in ("exact", "measured")}
    return joined(
        "; ",
        (msg("{kind}: {names}", kind=SURENESS[kind], names=joined(", ", names)) for kind, names in by_kind.items()),
    )
