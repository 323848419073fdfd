"""Published figures beside the exact ones, as a page."""

from __future__ import annotations

from typing import Any

from archcalc.analysis.papers.claims import Checked
from archcalc.render.page import Block, Column, Page, Table, Text
from archcalc.spec.claim import Verdict
from archcalc.words import Message, joined, msg, plural

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

VERDICTS: dict[Verdict, Message] = {
    "holds": msg("holds"),
    "truncates": msg("truncates"),
    "differs": msg("differs"),
}
# The accountings that are words; others are formulas, or name a paper.
ACCOUNTING_NAMES: dict[str, Message] = {
    "stored once": msg("stored once"),
    "head counted apart": msg("head counted apart"),
    "weights alone": msg("weights alone"),
    "weights alone, head apart": msg("weights alone, head apart"),
    "without biases": msg("without biases"),
    "without positions": msg("without positions"),
    "without head": msg("without head"),
    "without input embedding": msg("without input embedding"),
    "without embedding and head": msg("without embedding and head"),
    "ledger": msg("ledger"),
    "ledger, GPU modelled": msg("ledger, GPU modelled"),
    "ledger, early stop": msg("ledger, early stop"),
}


def page(found: Found) -> Page:
    """Every claim with its verdict, their notes below."""
    rows = [
        (name, one.claim.quantity, one.claim.value, one.shown, _verdict(one), _named(one.accounting), one.claim.where)
        for name, one in found
    ]
    blocks: list[Block] = [Table("", COLUMNS, rows)]
    if notes := [_note(*one) for one in found if one[1].claim.note]:
        blocks.append(Text(msg("Notes"), notes))
    return Page(msg("Published figures"), _counts(found) if found else msg("none is recorded"), blocks)


def _counts(found: Found) -> Message:
    """How many claims there are of each verdict."""
    return plural(
        "{n} claim: {holds} hold, {truncates} truncate, {differs} differ",
        "{n} claims: {holds} hold, {truncates} truncate, {differs} differ",
        n=len(found),
        **{verdict: sum(one.verdict == verdict for _, one in found) for verdict in VERDICTS},
    )


def _named(accounting: str) -> str | Message:
    return ACCOUNTING_NAMES.get(accounting, accounting)


def _verdict(one: Checked) -> Message:
    verdict = VERDICTS[one.verdict]
    if one.verdict == "differs" and one.holds_in:
        verdict = msg("differs (holds: {accountings})", accountings=joined(", ", map(_named, one.holds_in)))
    if one.agrees_with_record:
        return verdict
    return msg("{verdict} ≠ recorded '{recorded}'", verdict=verdict, recorded=VERDICTS[one.claim.verdict])


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
