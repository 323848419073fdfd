"""`archcalc memory`."""

from __future__ import annotations

import click

from archcalc.cli.options import load_source, output, settings, sizes, source
from archcalc.formats.cache_types import CACHE_TYPES
from archcalc.ledger.build import build
from archcalc.render import memory
from archcalc.render.memory import VIEWS, View
from archcalc.render.output import Format, emit
from archcalc.spec.workload import workload


@click.command("memory")
@source()
@sizes
@click.option(
    "--dtype", metavar="FORMAT", default="bf16", show_default=True, help="Of the weights: fp32, int8, nf4, q4_k_m …"
)
@click.option(
    "--cache-dtype",
    type=click.Choice(list(CACHE_TYPES)),
    metavar="FORMAT",
    default="bf16",
    show_default=True,
    help=f"Of the cache: {', '.join(CACHE_TYPES)}.",
)
@click.option("--view", type=click.Choice(VIEWS), default="tensors", show_default=True, help="What to show.")
@settings
@output
def command(
    source: str,
    batch: int,
    seq: int | None,
    past: int,
    source_seq: int | None,
    dtype: str,
    cache_dtype: str,
    view: View,
    settings: tuple[str, ...],
    form: Format,
    output: str | None,
    no_color: bool,
) -> None:
    """Bytes of the weights, and of what each layer caches after past + seq tokens, exact.

    `--view layers` is a row for each layer's cache. JSON is one object, whatever the view.
    """
    spec = load_source(source, settings)
    ledger, work = build(spec), workload(spec, batch=batch, seq=seq, past=past, source_seq=source_seq)
    asked = (ledger, work, dtype, cache_dtype)
    emit(
        lambda: memory.page(spec, *asked, view=view),
        lambda: memory.data(*asked),
        form,
        output=output,
        color=not no_color,
    )
