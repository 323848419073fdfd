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
    """Check published figures against the exact ones: the verdict, the way of counting, and the exact figure.

    SOURCE may also be a paper whose tables are not about one model (zero). Without SOURCE, all presets and papers are
    checked. The exit code is 1 if a verdict differs from the recorded one.
    """
    sources = [source] if source else [*presets.names(), *presets.papers()]
    results = [(name, claim) for one_source in sources for name, claim in _check(one_source)]
    emit(lambda: page(results), lambda: data(results), form, output=output, color=not no_color)
    return 0 if all(claim.agrees_with_record for _, claim in results) else 1


def _check(source: str) -> list[tuple[str, Checked]]:
    """Return the checked claims of a paper or of a source, each with the name of the paper or model."""
    if source in presets.papers():
        from archcalc.analysis.papers import published_tables

        return [(source, claim) for claim in published_tables.check(published_tables.load(source))]
    spec = load_source(source)
    return [(spec.name, claim) for claim in check(spec, build(spec))]
