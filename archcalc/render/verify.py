"""What a proof compared, as a page."""

from __future__ import annotations

from archcalc.proof import Comparison
from archcalc.render.page import Block, Column, Page, Table, Text
from archcalc.words import msg

# The comparisons of each source, by its name.
Found = list[tuple[str, list[Comparison]]]


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
        (name, f"{c.left} = {c.right}", c.n_tensors, c.n_parameters, c.seconds, _verdict(c))
        for name, comparisons in found
        for c in comparisons
    ]
    wrong: list[Block] = [
        Text(
            f"{name}: {c.left} ≠ {c.right}",
            [f"{d.name}: {d.ours or 'absent'} ≠ {d.theirs or 'absent'}" for d in c.differences],
        )
        for name, comparisons in found
        for c in comparisons
        if not c.holds
    ]
    if skipped := [name for name, comparisons in found if against and len(comparisons) == 1]:
        wrong.append(Text(msg("No such architecture in {against}", against=against), skipped))
    return Page(msg("Two independent readings of each spec, tensor by tensor"), "", [Table("", columns, rows), *wrong])


def _verdict(comparison: Comparison) -> str:
    return msg("equal") if comparison.holds else f"{len(comparison.differences)} differ"


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
