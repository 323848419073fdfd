"""`archcalc claims`."""

from __future__ import annotations

from typing import Any

import click

from archcalc import presets
from archcalc.analysis.claims import Checked, check
from archcalc.cli.options import load_source, output, source
from archcalc.ledger.build import build
from archcalc.render.output import Format, emit
from archcalc.render.page import Block, Column, Page, Table, Text

COLUMNS = (
    Column("model"),
    Column("quantity"),
    Column("published", "words"),
    Column("exact here", "words"),
    Column("verdict"),
    Column("counted"),
    Column("where published"),
)

_WORDS = {"holds": "hold", "truncates": "truncate", "differs": "differ"}


@click.command("claims")
@source(required=False)
@output
def command(source: str | None, form: Format, output: str | None, no_color: bool) -> int:
    """Published figures held against the exact ones: whether each holds, counted in which way, and the exact figure.

    SOURCE may also be a paper whose tables are of no one model: zero. Without SOURCE, those of every preset and paper.
    Ends with 1 if a verdict differs from the one on record.
    """
    named = [source] if source else [*presets.names(), *presets.papers()]
    found = [(name, checked) for given in named for name, checked in _checked(given)]
    emit(lambda: _page(found), lambda: [_data(*one) for one in found], form, output=output, color=not no_color)
    return 0 if all(checked.agrees_with_record for _, checked in found) else 1


def _checked(source: str) -> list[tuple[str, Checked]]:
    """The claims of a paper or of a source, each with the name of what it is about."""
    if source in presets.papers():
        from archcalc.analysis import papers

        return [(source, checked) for checked in papers.check(papers.load(source))]
    spec = load_source(source)
    return [(spec.name, checked) for checked in check(spec, build(spec))]


def _page(found: list[tuple[str, Checked]]) -> Page:
    rows = [
        (name, one.claim.quantity, one.claim.value, one.shown, _verdict(one), one.accounting, one.claim.where)
        for name, one in found
    ]
    blocks: list[Block] = [Table("", COLUMNS, rows)]
    if notes := [_note(*one) for one in found if one[1].claim.note]:
        blocks.append(Text("Notes", notes))
    counts = {word: sum(one.verdict == verdict for _, one in found) for verdict, word in _WORDS.items()}
    claims = f"{len(found)} {'claim' if len(found) == 1 else 'claims'}: "
    subtitle = claims + ", ".join(f"{n} {word}" for word, n in counts.items()) if found else "none is recorded"
    return Page("Published figures", subtitle, blocks)


def _verdict(one: Checked) -> str:
    elsewhere = f" (holds: {', '.join(one.holds_in)})" if one.verdict == "differs" and one.holds_in else ""
    return one.verdict + elsewhere + ("" if one.agrees_with_record else f" ≠ recorded {one.claim.verdict!r}")


def _note(name: str, one: Checked) -> str:
    return f"{name} {one.claim.id}: {one.claim.note}"


def _data(name: str, one: Checked) -> dict[str, Any]:
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
