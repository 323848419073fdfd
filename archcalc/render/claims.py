"""Published figures beside the exact ones, as a page."""

from __future__ import annotations

from typing import Any

from archcalc.analysis.papers.claims import Checked
from archcalc.render.page import Block, Column, Page, Table, Text
from archcalc.words import msg

# The claims, each with the name of what it is about.
Found = list[tuple[str, Checked]]

COLUMNS = (
    Column(msg("model")),
    Column(msg("quantity")),
    Column(msg("published"), "words"),
    Column(msg("exact here"), "words"),
    Column(msg("verdict")),
    Column(msg("counted")),
    Column(msg("where published")),
)

_WORDS = {"holds": "hold", "truncates": "truncate", "differs": "differ"}


def page(found: Found) -> Page:
    """Every claim with its verdict, their notes below."""
    rows = [
        (name, one.claim.quantity, one.claim.value, one.shown, _verdict(one), one.accounting, one.claim.where)
        for name, one in found
    ]
    blocks: list[Block] = [Table("", COLUMNS, rows)]
    if notes := [_note(*one) for one in found if one[1].claim.note]:
        blocks.append(Text(msg("Notes"), notes))
    counts = {word: sum(one.verdict == verdict for _, one in found) for verdict, word in _WORDS.items()}
    claims = f"{len(found)} {'claim' if len(found) == 1 else 'claims'}: "
    subtitle = claims + ", ".join(f"{n} {word}" for word, n in counts.items()) if found else "none is recorded"
    return Page(msg("Published figures"), subtitle, blocks)


def _verdict(one: Checked) -> str:
    elsewhere = f" (holds: {', '.join(one.holds_in)})" if one.verdict == "differs" and one.holds_in else ""
    return one.verdict + elsewhere + ("" if one.agrees_with_record else f" ≠ recorded {one.claim.verdict!r}")


def _note(name: str, one: Checked) -> str:
    return f"{name} {one.claim.id}: {one.claim.note}"


def data(found: Found) -> list[dict[str, Any]]:
    """The same, as plain data."""
    return [_datum(*one) for one in found]


def _datum(name: str, one: Checked) -> dict[str, Any]:
    figure = int(one.figure) if one.figure.denominator == 1 else float(one.figure)
    return {
        "model": name,
        "id": one.claim.id,
        "quantity": one.claim.quantity,
        "published": one.claim.value,
        "figure": figure,
        "verdict": one.verdict,
        "accounting": one.accounting,
        "holds_in": one.holds_in,
        "recorded": one.claim.verdict,
        "agrees": one.agrees_with_record,
        "where": one.claim.where,
        "note": one.claim.note,
    }
