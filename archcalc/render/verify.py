"""What a proof compared, as a page."""

from __future__ import annotations

from archcalc.proof import Comparison, Difference
from archcalc.render.page import Block, Column, Page, Table, Text
from archcalc.words import Message, joined, msg

# The comparisons of each source, by its name.
Found = list[tuple[str, list[Comparison]]]

READINGS: dict[str, str | Message] = {
    "ledger": msg("ledger"),
    "module": msg("module"),
    "transformers": "transformers",
}


def page(found: Found, against: str | None = None) -> Page:
    """Which readings were compared, and what differs; `against` is the third reading that was asked for."""
    columns = (
        Column(msg("model")),
        Column(msg("compared")),
        Column(msg("tensors"), "count"),
        Column(msg("parameters"), "count"),
        Column(msg("time"), "seconds"),
        Column(msg("result")),
    )
    rows = [
        (name, joined(" = ", _readings(c)), c.n_tensors, c.n_parameters, c.seconds, _verdict(c))
        for name, comparisons in found
        for c in comparisons
    ]
    wrong: list[Block] = [
        Text(msg("{name}: {readings}", name=name, readings=joined(" ≠ ", _readings(c))), [*map(_line, c.differences)])
        for name, comparisons in found
        for c in comparisons
        if not c.holds
    ]
    if skipped := [name for name, comparisons in found if against and len(comparisons) == 1]:
        wrong.append(Text(msg("No such architecture in {against}", against=against), skipped))
    return Page(msg("Two independent readings of each spec, tensor by tensor"), "", [Table("", columns, rows), *wrong])


def _readings(comparison: Comparison) -> tuple[str | Message, str | Message]:
    return READINGS[comparison.left], READINGS[comparison.right]


def _line(one: Difference) -> Message:
    sides = joined(" ≠ ", (one.ours or msg("absent"), one.theirs or msg("absent")))
    return msg("{name}: {sides}", name=one.name, sides=sides)


def _verdict(comparison: Comparison) -> Message:
    return msg("equal") if comparison.holds else msg("{n} differ", n=len(comparison.differences))


def data(found: Found) -> list[dict[str, object]]:
    """The same, as plain data."""
    return [
        {
            "model": name,
            "left": c.left,
            "right": c.right,
            "tensors": c.n_tensors,
            "parameters": c.n_parameters,
            "seconds": round(c.seconds, 3),
            "equal": c.holds,
            "differences": [{"name": d.name, c.left: d.ours, c.right: d.theirs} for d in c.differences],
        }
        for name, comparisons in found
        for c in comparisons
    ]
