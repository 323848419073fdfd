"""`archcalc flops`."""

from __future__ import annotations

from functools import partial

import click

from archcalc.analysis.conventions import counted
from archcalc.analysis.flops import by_op
from archcalc.cli.options import load_source, output, settings, sizes, source
from archcalc.ledger.build import build
from archcalc.render import flops
from archcalc.render.output import Format, emit
from archcalc.spec.workload import workload


@click.command("flops")
@source()
@sizes
@click.option("--view", type=click.Choice(flops.VIEWS), default="components", show_default=True, help="What a row is.")
@click.option("--conventions", is_flag=True, help="A training step as papers count it, beside the exact count.")
@settings
@output
def command(
    source: str,
    batch: int,
    seq: int | None,
    past: int,
    source_seq: int | None,
    view: flops.View,
    conventions: bool,
    settings: tuple[str, ...],
    form: Format,
    output: str | None,
    no_color: bool,
) -> None:
    """A workload's FLOPs, exact: forward (all keys held, and only those attended) and backward, by component, op or
    layer.

    A prefill is `--seq N`; a decode step `--seq 1 --past N`.
    """
    spec = load_source(source, settings)
    ledger, work = build(spec), workload(spec, batch=batch, seq=seq, past=past, source_seq=source_seq)
    ops, papers = by_op(ledger, work), counted(spec, ledger, work) if conventions else None
    page = partial(flops.page, spec, ledger, work, ops, view, papers)
    emit(page, lambda: flops.data(spec, ops, papers), form, output=output, color=not no_color)
