"""`archcalc coverage`."""

from __future__ import annotations

import sys

import click

from archcalc.cli.language import current, emit_result
from archcalc.cli.options import output
from archcalc.coverage import model_type_coverage, model_types
from archcalc.render.coverage import view
from archcalc.render.output import Format
from archcalc.words import msg


@click.command("coverage")
@click.argument("pattern", default="*")
@output
def command(pattern: str, form: Format, output: str | None, no_color: bool) -> None:
    """Compare every model type with transformers: parameters, FLOPs, logits, cached decoding.

    PATTERN is part of a model type's name (qwen) or a glob (qwen*). Each type is built as a small model with random
    weights, which takes about a second.
    """
    names = model_types(pattern)
    label, hidden = current()(msg("comparing")), not sys.stderr.isatty()
    with click.progressbar(names, label=label, file=sys.stderr, hidden=hidden) as bar:
        results = [model_type_coverage(name) for name in bar]
    emit_result(lambda: results, view, None, form, output=output, color=not no_color)
