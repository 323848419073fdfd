"""Published figures about a model."""

from typing import Literal

from archcalc.spec.base import Part

Verdict = Literal["holds", "truncates", "differs"]


class Claim(Part, frozen=True, kw_only=True):
    """A published figure, its source, and the recorded verdict.

    `quantity` is a name from `archcalc.analysis.papers.claims` (total, share:attention, tensor:PATH, field:PATH …).
    `value` is the figure as printed, with its unit ('174.6 B', '0.7 %'): the last digit is its precision. `accounting`
    names the way of counting that gives the verdict. `archcalc claims` checks the verdict again.
    """

    id: str
    quantity: str
    value: str
    where: str
    verdict: Verdict
    accounting: str = "stored once"
    note: str = ""
