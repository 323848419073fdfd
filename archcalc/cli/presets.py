"""`archcalc presets`."""

from __future__ import annotations

import click

from archcalc import presets
from archcalc.analysis.params import summary
from archcalc.cli.language import emit
from archcalc.cli.options import output
from archcalc.ledger.build import build
from archcalc.render.output import Format
from archcalc.render.page import Column, Page, Table
from archcalc.sources import load
from archcalc.words import in_context, joined, msg


@click.command("presets")
@output
def command(form: Format, output: str | None, no_color: bool) -> None:
    """List the models that come with archcalc, with their parameters and the source of their sizes."""
    specs = [load(name) for name in presets.names()]
    rows = []
    for spec in specs:
        counts = summary(build(spec))
        source = "; ".join(spec.about.sources)
        rows.append((spec.name, spec.family, counts["total"], counts["total"], counts["active"], source))
    columns = (
        Column(msg("preset")),
        Column(msg("family")),
        Column(msg("parameters"), "count"),
        Column("", "human"),
        Column(msg("active"), "human"),
        Column(in_context("of a preset", "source")),
    )
    short = joined(
        ", ", (msg("{name} is short for {full}", name=name, full=full) for name, full in presets.ALIASES.items())
    )
    keys = ("name", "family", "total", "active", "source")
    data = [dict(zip(keys, (*row[:3], *row[4:]), strict=True)) for row in rows]
    page = Page(msg("Presets"), short, [Table("", columns, rows)])
    emit(lambda: page, lambda: data, form, output=output, color=not no_color)
