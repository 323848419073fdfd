"""`archcalc claims`."""

from __future__ import annotations

import click

from archcalc import presets
from archcalc.analysis.papers.claims import Checked, check
from archcalc.cli.language import emit
from archcalc.cli.options import load_source, output, source
from archcalc.ledger.build import build
from archcalc.render.claims import data, page
from archcalc.render.output import Format


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
    emit(lambda: page(found), lambda: data(found), form, output=output, color=not no_color)
    return 0 if all(checked.agrees_with_record for _, checked in found) else 1


def _checked(source: str) -> list[tuple[str, Checked]]:
    """The claims of a paper or of a source, each with the name of what it is about."""
    if source in presets.papers():
        from archcalc.analysis.papers import published_tables

        return [(source, checked) for checked in published_tables.check(published_tables.load(source))]
    spec = load_source(source)
    return [(spec.name, checked) for checked in check(spec, build(spec))]
