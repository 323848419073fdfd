"""`archcalc claims`."""

from __future__ import annotations

import click

from archcalc import presets
from archcalc.analysis.papers.claim_results import results_of
from archcalc.cli.language import emit_result
from archcalc.cli.options import output, source
from archcalc.render.claims import view
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
    result = [row for one_source in sources for row in results_of(one_source)]
    emit_result(lambda: result, view, None, form, output=output, color=not no_color)
    return 0 if all(row.is_as_recorded for row in result) else 1
