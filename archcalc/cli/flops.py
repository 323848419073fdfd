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
from archcalc.results import plain
from archcalc.spec import Spec
from archcalc.spec.execution import Execution, Recompute
from archcalc.spec.workload import workload
from archcalc.words import Message, msg

# The plot is over workloads, the tables are of one workload.
_PLOT_OPTIONS = ("phase", "up_to")
_WORKLOAD_OPTIONS = ("batch", "seq", "past", "source_seq", "view", "conventions", "recompute", "dropout")


@click.command("flops")
@source()
@sizes
@click.option(
    "--view", type=click.Choice(flops.VIEWS), default="components", show_default=True, help="What each row shows."
)
@click.option("--conventions", is_flag=True, help="Add the FLOPs of a training step as papers count them.")
@recomputation
@click.option("--plot", type=FILE, help="Plot FLOPs per token against context length (.html, .png or .svg).")
@click.option("--phase", type=click.Choice(PHASES), default="prefill", show_default=True, help="Phase of the plot.")
@click.option(
    "--up-to",
    type=int,
    help="Longest context of the plot (default: n_ctx, or at least 131072 without a position table).",
)
@settings
@output
@click.pass_context
def command(
    ctx: click.Context,
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
    """Show the exact FLOPs of a workload, forward and backward, by component, operation or layer.

    Forward FLOPs are counted over all keys in the cache and, separately, over attended keys only (causal). With
    --recompute, a training step includes what activation checkpointing recomputes. --seq N is a prefill, --seq 1
    --past N a decode step. --plot shows the cost per token as the context grows, and where attention overtakes the FFN.
    """
    _check_options(ctx, plot)
    spec = load_source(source, settings)
    show = partial(emit, form=form, output=output, color=not no_color)
    if plot is not None:
        _plot(spec, plot, phase, up_to, show)
        return
    if past and recompute != "none":
        raise InputError(msg("what follows a cache is not trained"), where="recompute", allowed=msg("without `past`"))
    how = Execution(recompute=recompute, dropout=dropout)
    work = workload(spec, batch=batch, seq=seq, past=past, source_seq=source_seq)
    result = workload_flops(spec, work, how, conventions=conventions)
    show(lambda: flops.view(result, flops.FlopsOptions(view)), lambda: plain(result))


def _check_options(ctx: click.Context, plot: str | None) -> None:
    """Raise InputError for an option that would have no effect."""
    unused = _PLOT_OPTIONS if plot is None else _WORKLOAD_OPTIONS
    for name in unused:
        if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            problem = msg("there is no plot")
            allowed: str | Message = msg("with `plot` FILE")
            if plot is not None:
                problem = msg("a plot runs over context lengths, in FLOPs of a token")
                allowed = msg("`phase`, `up_to`")
            raise InputError(problem, where=name, allowed=allowed)


def _plot(spec: Spec, path: str, phase: Phase, up_to: int | None, show: partial[None]) -> None:
    from archcalc.render.charts.context import chart_file

    result = context(spec, phase, up_to)
    write(path, chart_file(path, result, current()))
    show(lambda: pages.view(result), lambda: plain(result))
