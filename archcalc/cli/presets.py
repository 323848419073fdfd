"""`archcalc presets`."""

from __future__ import annotations

import click

from archcalc.analysis.preset_totals import preset_totals
from archcalc.cli.language import emit_result
from archcalc.cli.options import output
from archcalc.render.output import Format
from archcalc.render.presets import view


@click.command("presets")
@output
def command(form: Format, output: str | None, no_color: bool) -> None:
    """List the models that come with archcalc, with their parameters and the source of their sizes."""
    emit_result(preset_totals, view, None, form, output=output, color=not no_color)
