"""What has come of a training run, as a page."""

from __future__ import annotations

from typing import Any

from archcalc.render.page import Column, Page, Table, Text
from archcalc.units import exact, human

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


def page(found: dict[str, Any]) -> Page:
    """A line for each figure."""
    held = found["held_out"]
    rows = [
        ("steps", exact(found["steps"]), "exact"),
        ("tokens learned from", exact(found["tokens"]), "exact"),
        ("FLOPs", f"{exact(found['flops'])} ({human(found['flops'])})", "exact"),
        ("time", f"{found['seconds']:,.1f} s, {found['tokens_per_second']:,.0f} tokens/s", "measured"),
        ("loss of the last step", f"{found['loss']:.4f} nats a target", "measured"),
        ("held out", f"{held['nats']:.4f} nats a target", "measured"),
        ("held out, right", f"{100 * held['right']:.2f} %", "measured"),
    ]
    if held["nats_per_character"] is not None:
        rows.insert(-1, ("held out, a character", f"{held['nats_per_character']:.4f} nats", "measured"))
    columns = (Column("figure"), Column("value"), Column("kind"))
    note = Text("The model", [f"{found['checkpoint']}: archcalc generate {found['checkpoint']} --prompt …"])
    return Page(f"{found['model']}, trained", "", [Table("", columns, rows), note])
