"""Published figures beside the exact ones, as a page."""

from __future__ import annotations

from archcalc.analysis.papers.claim_results import ACCOUNTING_NAMES, VERDICTS, ClaimResult, ClaimResults
from archcalc.render.page import Block, Page, Text
from archcalc.render.tables import table
from archcalc.words import Message, joined, msg, plural


def view(result: ClaimResults, options: None = None) -> Page:
    """Return the page of every claim with its verdict; the differences from the record and the notes below."""
    blocks: list[Block] = [table("", result, ClaimResult)]
    if differences := [_difference(row) for row in result if not row.is_as_recorded]:
        blocks.append(Text(msg("Verdicts that differ from the record"), differences))
    if others := [_others(row) for row in result if row.verdict == "differs" and row.holds_in]:
        blocks.append(Text(msg("What differs, but holds if counted in another way"), others))
    if notes := [f"{row.name} {row.id}: {row.note}" for row in result if row.note]:
        blocks.append(Text(msg("Notes"), notes))
    return Page(msg("Published figures"), _counts(result) if result else msg("none is recorded"), blocks)


def _counts(result: ClaimResults) -> Message:
    """Return how many claims there are of each verdict."""
    return plural(
        "{n} claim: {holds} hold, {truncates} truncate, {differs} differ",
        "{n} claims: {holds} hold, {truncates} truncate, {differs} differ",
        n=len(result),
        **{verdict: sum(row.verdict == verdict for row in result) for verdict in VERDICTS},
    )


def _others(row: ClaimResult) -> Message:
    accountings = joined(", ", (ACCOUNTING_NAMES.get(one, one) for one in row.holds_in))
    return msg("{name} {claim}: {accountings}", name=row.name, claim=row.id, accountings=accountings)


def _difference(row: ClaimResult) -> Message:
    return msg(
        "{name} {claim}: {verdict} ≠ recorded '{recorded}'",
        name=row.name,
        claim=row.id,
        verdict=VERDICTS[row.verdict],
        recorded=VERDICTS[row.recorded],
    )
