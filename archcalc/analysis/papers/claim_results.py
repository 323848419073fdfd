"""Published figures beside the exact ones."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from archcalc import presets
from archcalc.analysis.papers.claims import ClaimCheck, check
from archcalc.ledger.build import build
from archcalc.ledger.rows import Ledger
from archcalc.results import Row, data, number, text
from archcalc.sources import load
from archcalc.spec import Spec
from archcalc.spec.claim import Verdict
from archcalc.words import Message, msg

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
    "ledger, GPU modeled": msg("ledger, GPU modeled"),
    "ledger, early stop": msg("ledger, early stop"),
}


class ClaimResult(Row, frozen=True, kw_only=True):
    """A published figure and the exact one; `holds_in` are other accountings whose figure rounds to the published."""

    name: Annotated[str, text(msg("model"))]
    id: Annotated[str, data(msg("name of the claim"))]
    quantity: Annotated[str, text(msg("quantity"))]
    published: Annotated[str, number(msg("published"), "words")]
    figure: Annotated[int | float, data(msg("exact figure"))]
    figure_in_unit: Annotated[str, number(msg("exact here"), "words")]
    verdict: Annotated[Verdict, text(msg("verdict"), names=VERDICTS)]
    recorded: Annotated[Verdict, data(msg("verdict on record"))]
    is_as_recorded: Annotated[bool, data(msg("whether the verdict is the one on record"))]
    accounting: Annotated[str, text(msg("counted"), names=ACCOUNTING_NAMES)]
    holds_in: Annotated[tuple[str, ...], data(msg("other ways of counting in which it holds"))]
    where: Annotated[str, text(msg("where published"))]
    note: Annotated[str, data(msg("note"))]


ClaimResults = list[ClaimResult]


def claim_results(spec: Spec, ledger: Ledger) -> ClaimResults:
    """Return the results of a model's claims. Raises InputError as `check` does."""
    return results(spec.name, check(spec, ledger))


def results_of(source: str) -> ClaimResults:
    """Return the results of a paper's or of a source's claims. Raises InputError as `load` and `check` do."""
    if source in presets.papers():
        from archcalc.analysis.papers import published_tables

        return results(source, published_tables.check(published_tables.load(source)))
    spec = load(source)
    return claim_results(spec, build(spec))


def results(name: str, checks: Iterable[ClaimCheck]) -> ClaimResults:
    """Return the results of checks of the claims about `name`."""
    return [_result(name, one) for one in checks]


def _result(name: str, check: ClaimCheck) -> ClaimResult:
    claim, figure = check.claim, check.figure
    return ClaimResult(
        name=name,
        id=claim.id,
        quantity=claim.quantity,
        published=claim.value,
        figure=int(figure) if figure.denominator == 1 else float(figure),
        figure_in_unit=check.figure_in_unit,
        verdict=check.verdict,
        recorded=claim.verdict,
        is_as_recorded=check.is_as_recorded,
        accounting=check.accounting,
        holds_in=check.holds_in,
        where=claim.where,
        note=claim.note,
    )
