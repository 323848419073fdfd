"""`archcalc diff`."""

from __future__ import annotations

import click

from archcalc.analysis.comparison import model_difference
from archcalc.cli.language import emit_result
from archcalc.cli.options import SOURCE, load_source, output, settings
from archcalc.render.comparison import difference_view
from archcalc.render.output import Format


@click.command("diff")
@click.argument("left", metavar="A", type=SOURCE)
@click.argument("right", metavar="B", type=SOURCE)
@settings
@output
def command(left: str, right: str, settings: tuple[str, ...], form: Format, output: str | None, no_color: bool) -> None:
    """Compare models A and B: parameters by component, then fields that differ. --set applies to B only."""
    a, b = load_source(left), load_source(right, settings)
    emit_result(lambda: model_difference(a, b), difference_view, None, form, output=output, color=not no_color)
