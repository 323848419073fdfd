"""A published figure about a model, as a preset carries it."""

from __future__ import annotations

from typing import Literal

from archcalc.spec.base import Part

Verdict = Literal["holds", "truncates", "differs"]


class Claim(Part, frozen=True, kw_only=True):
    """What somebody published, where, and what checking it found.

    `quantity` is a name from `archcalc.analysis.papers.claims` (total, share:attention, tensor:PATH, field:PATH …).
    `value` is the figure as printed, unit included ('174.6 B', '0.7 %'): its last digit is its precision. `accounting`
    names the way of counting in which the verdict was found. `verdict` is the one recorded; `archcalc claims` finds it
    anew.
    """

    id: str
    quantity: str
    value: str
    where: str
    verdict: Verdict
    accounting: str = "stored once"
    note: str = ""
