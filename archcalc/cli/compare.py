"""`archcalc compare`."""

from __future__ import annotations

import click

from archcalc.analysis.comparison import model_comparison
from archcalc.cli.language import emit
from archcalc.cli.options import load_source, output, settings, source
from archcalc.contract import report
from archcalc.render.comparison import view
from archcalc.render.output import Format


@click.command("compare")
@source(many=True)
@settings
@output
def command(
    sources: tuple[str, ...], settings: tuple[str, ...], form: Format, output: str | None, no_color: bool
) -> None:
    """Compare several models, one column each. --set applies to all of them."""
    specs = [load_source(name, settings) for name in sources]
    emit(
        lambda: view(model_comparison(specs), None),
        lambda: [report(spec) for spec in specs],
        form,
        output=output,
        color=not no_color,
    )
