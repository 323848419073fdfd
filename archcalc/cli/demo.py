"""`archcalc demo`."""

from __future__ import annotations

from functools import partial

import click

from archcalc.cli.language import emit_result
from archcalc.cli.options import output
from archcalc.extras import require
from archcalc.interp.demos import DEMOS, demo_list, run
from archcalc.render import demos
from archcalc.render.output import Format
from archcalc.words import msg


@click.command("demo")
@click.argument("name", required=False)
@click.option("--seed", type=click.IntRange(0), help="Random seed (default: 0).")
@output
def command(name: str | None, seed: int | None, form: Format, output: str | None, no_color: bool) -> None:
    """Run a small demonstration of how a transformer works.

    NAME is softmax, dropout, positions, step or cost. Without NAME, the demonstrations are listed.

    \b
    Examples:
      archcalc demo softmax --seed 1
      archcalc demo positions --lang zh
      archcalc demo step --format html -o step.html
    """
    show = partial(emit_result, options=None, form=form, output=output, color=not no_color)
    if name is None:
        if seed is not None:
            raise click.UsageError("--seed belongs to a demonstration; expected with NAME")
        show(demo_list, demos.list_view)
        return
    if DEMOS.get(name):
        require("torch", does=msg("running a demonstration"), extra="model")
    result = run(name, seed)
    show(lambda: result, demos.view)
