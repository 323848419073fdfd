"""The peak of a training step, as page blocks and as plain data."""

from __future__ import annotations

from typing import Any, Literal, get_args

from msgspec import structs

from archcalc.analysis.peak import Moment, peak
from archcalc.render.page import Block, Column, Table, Text
from archcalc.units import human_bytes
from archcalc.words import Message, in_context, msg

Measure = Literal["fake", "process"]
MEASURES: tuple[Measure, ...] = get_args(Measure)
CATEGORIES = tuple(field for field in Moment.__struct_fields__ if field != "name")
CATEGORY_NAMES: dict[str, Message] = {
    "weights": msg("weights"),
    "gradients": msg("gradients"),
    "optimiser": msg("optimiser"),
    "activations": msg("activations"),
    "temporary": msg("temporary"),
}


def blocks(moments: list[Moment], tracked: Moment | None, grown_bytes: int | None) -> list[Block]:
    """The moments of a step, the fullest marked, and what was measured beside it."""
    top = peak(moments)
    found: list[Block] = [_moments(moments, top)]
    if tracked is not None:
        found.append(_tracked(top, tracked))
    if grown_bytes is not None:
        found.append(Text(msg("Measured on this machine"), [_grown(top.total, grown_bytes)]))
    return found


def _moments(moments: list[Moment], top: Moment) -> Table:
    columns = (
        Column(msg("moment")),
        *(Column(CATEGORY_NAMES[category], "human") for category in CATEGORIES),
        Column(msg("bytes"), "count"),
        Column("", "human"),
    )
    rows: list[tuple[Any, ...]] = [
        (moment.name, *(human_bytes(getattr(moment, c)) for c in CATEGORIES), moment.total, human_bytes(moment.total))
        for moment in moments
    ]
    last = (msg("peak: {moment}", moment=top.name), *rows[moments.index(top)][1:])
    return Table(msg("Peak of a step (modelled)"), columns, [*rows, last], n_sums=1)


def _tracked(top: Moment, tracked: Moment) -> Table:
    """What torch's tracker saw at its fullest moment, by category."""
    columns = (
        Column(msg("category")),
        Column(msg("modelled"), "count"),
        Column(msg("measured"), "count"),
        Column(msg("modelled − measured"), "signed"),
        Column(in_context("difference", "off"), "change"),
    )
    pairs = [(CATEGORY_NAMES[c], getattr(top, c), getattr(tracked, c)) for c in CATEGORIES]
    rows = [
        (name, ours, theirs, ours - theirs, ours / theirs - 1 if theirs else None)
        for name, ours, theirs in [*pairs, (msg("total"), top.total, tracked.total)]
    ]
    return Table(
        msg("The peak, held against PyTorch's memory tracker on fake CPU tensors (measured)"), columns, rows, 1
    )


def _grown(ours: int, theirs: int) -> Message:
    return msg(
        "{measured} that a process grew by, the model says {modelled} ({off})",
        measured=human_bytes(theirs),
        modelled=human_bytes(ours),
        off=f"{ours / theirs - 1:+.1%}",
    )


def data(moments: list[Moment], tracked: Moment | None, grown_bytes: int | None) -> dict[str, Any]:
    """The same as plain data."""
    top = peak(moments)
    found: dict[str, Any] = {
        "peak_bytes": top.total,
        "moment": str(top.name),
        "moments": [_datum(moment) for moment in moments],
        "kind": "modelled",
    }
    if tracked is not None:
        found["tracked"] = {**_datum(tracked), "off": top.total / tracked.total - 1, "kind": "measured"}
    if grown_bytes is not None:
        found["process"] = {"bytes": grown_bytes, "off": top.total / grown_bytes - 1, "kind": "measured"}
    return found


def _datum(moment: Moment) -> dict[str, Any]:
    return {**structs.asdict(moment), "name": str(moment.name), "total": moment.total}
