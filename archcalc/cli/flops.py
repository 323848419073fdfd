"""`archcalc flops`."""

from __future__ import annotations

from functools import partial

import click
from click.core import ParameterSource

from archcalc.analysis.context import PHASES, Phase, context
from archcalc.analysis.workload_flops import workload_flops
from archcalc.cli.language import current, emit
from archcalc.cli.options import FILE, load_source, output, recomputation, settings, sizes, source
from archcalc.errors import InputError
from archcalc.render import context as pages
from archcalc.render import flops
from archcalc.render.output import Format, write
from archcalc.spec import Spec
from archcalc.spec.execution import Execution, Recompute
from archcalc.spec.workload import workload
from archcalc.words import Message, msg

# A plot runs over workloads; one workload is what the others ask for.
_OF_A_PLOT = ("phase", "up_to")
_OF_A_WORKLOAD = ("batch", "seq", "past", "source_seq", "view", "conventions", "recompute", "dropout")


@click.command("flops")
@source()
@sizes
@click.option("--view", type=click.Choice(flops.VIEWS), default="components", show_default=True, help="What a row is.")
@click.option("--conventions", is_flag=True, help="A training step as papers count it, beside the exact count.")
@recomputation
@click.option("--plot", type=FILE, help="Draw cost against context length into this file: .html, .png or .svg.")
@click.option("--phase", type=click.Choice(PHASES), default="prefill", show_default=True, help="Of the plot.")
@click.option("--up-to", type=int, help="Tokens that the plot ends at (default: as far as positions go).")
@settings
@output
@click.pass_context
def command(
    asked: click.Context,
    source: str,
    batch: int,
    seq: int | None,
    past: int,
    source_seq: int | None,
    view: flops.View,
    conventions: bool,
    recompute: Recompute,
    dropout: bool,
    plot: str | None,
    phase: Phase,
    up_to: int | None,
    settings: tuple[str, ...],
    form: Format,
    output: str | None,
    no_color: bool,
) -> None:
    """A workload's FLOPs, exact: forward (all keys held, and only those attended) and backward, by component, op or
    layer; and what a training step computes again under checkpoints.

    A prefill is `--seq N`; a decode step `--seq 1 --past N`. With `--plot`, what a token costs as the context grows,
    and where attention overtakes the FFN.
    """
    _check_options(asked, plot)
    spec = load_source(source, settings)
    show = partial(emit, form=form, output=output, color=not no_color)
    if plot is not None:
        _plot(spec, plot, phase, up_to, show)
        return
    if past and recompute != "none":
        raise InputError(msg("what follows a cache is not trained"), where="recompute", allowed=msg("without `past`"))
    how = Execution(recompute=recompute, dropout=dropout)
    work = workload(spec, batch=batch, seq=seq, past=past, source_seq=source_seq)
    found = workload_flops(spec, work, how, conventions=conventions)
    show(lambda: flops.page(found, view), lambda: flops.data(found))


def _check_options(asked: click.Context, plot: str | None) -> None:
    """No option is accepted and then unused."""
    unused = _OF_A_PLOT if plot is None else _OF_A_WORKLOAD
    for name in unused:
        if asked.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            problem = msg("there is no plot")
            allowed: str | Message = msg("with `plot` FILE")
            if plot is not None:
                problem = msg("a plot runs over context lengths, in FLOPs of a token")
                allowed = msg("`phase`, `up_to`")
            raise InputError(problem, where=name, allowed=allowed)


def _plot(spec: Spec, path: str, phase: Phase, up_to: int | None, show: partial[None]) -> None:
    from archcalc.render.charts.context import drawn

    found = context(spec, phase, up_to)
    write(path, drawn(path, spec, found, current()))
    show(lambda: pages.page(spec, found), lambda: pages.data(found))
