"""`archcalc taps`."""

from __future__ import annotations

import click

from archcalc.analysis.site_shapes import site_list
from archcalc.cli.language import emit_result
from archcalc.cli.options import load_source, output, settings, sizes, source
from archcalc.render.output import Format
from archcalc.render.taps import view
from archcalc.spec.sites import find_sites
from archcalc.spec.workload import workload


@click.command("taps")
@source()
@click.argument("site", default="*")
@sizes
@settings
@output
def command(
    source: str,
    site: str,
    batch: int,
    seq: int | None,
    past: int,
    source_seq: int | None,
    settings: tuple[str, ...],
    form: Format,
    output: str | None,
    no_color: bool,
) -> None:
    """List the named points (sites) of a forward pass that can be read and edited, with axes and shapes.

    SITE is a name or a glob ('layers.3.*', '*.attn.pattern'); the default is all. With --past, the shapes are those of
    a pass with a KV cache, where a sliding-window layer has only the keys in its window.

    \b
    Examples:
      archcalc taps gpt3
      archcalc taps deepseek-v3 'layers.3.*' --seq 1 --past 4096
    """
    spec = load_source(source, settings)
    work = workload(spec, batch=batch, seq=seq, past=past, source_seq=source_seq)
    sites = find_sites(spec, site)
    emit_result(lambda: site_list(spec, sites, work), view, None, form, output=output, color=not no_color)
