"""Comparisons of readings as a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from archcalc.proof import READING_NAMES, Comparison, Difference, Reading
from archcalc.render.page import Page, Text
from archcalc.render.tables import table
from archcalc.words import Message, joined, msg


class VerifyOptions(msgspec.Struct, frozen=True):
    """The third reading that was asked for; the page lists the models that it lacks."""

    against: Reading | None = None


def view(result: Sequence[Comparison], options: VerifyOptions) -> Page:
    """Return the page of the comparisons, and of every difference."""
    title = msg("Two independent readings of each spec, tensor by tensor")
    return Page(title, "", [table("", result, Comparison), *_differences(result), *_missing(result, options.against)])


def _differences(result: Sequence[Comparison]) -> Iterator[Text]:
    for comparison in result:
        if not comparison.is_equal:
            readings = joined(" ≠ ", (READING_NAMES.get(one, one) for one in (comparison.left, comparison.right)))
            title = msg("{name}: {readings}", name=comparison.name, readings=readings)
            yield Text(title, [*map(_line, comparison.differences)])


def _line(difference: Difference) -> Message:
    sides = joined(" ≠ ", (difference.left or msg("absent"), difference.right or msg("absent")))
    return msg("{name}: {sides}", name=difference.path, sides=sides)


def _missing(result: Sequence[Comparison], against: Reading | None) -> Iterator[Text]:
    """Yield the names of the models that the third reading lacks, if it was asked for."""
    with_third = {comparison.name for comparison in result if comparison.right == against}
    names = [name for name in dict.fromkeys(comparison.name for comparison in result) if name not in with_third]
    if against and names:
        yield Text(msg("No such architecture in {against}", against=against), names)
