"""`archcalc explain`."""

from __future__ import annotations

import click

from archcalc.analysis.formulas import explanation
from archcalc.analysis.memory import AUTO, DTYPES, DtypeOrAuto
from archcalc.analysis.stored_weights import cache_dtype_of, model_workload
from archcalc.cli.language import emit
from archcalc.cli.options import load_source, output, settings, sizes, source
from archcalc.ledger.build import build
from archcalc.render.explain import table_view, view
from archcalc.render.output import Format
from archcalc.render.page import Page
from archcalc.results import plain
from archcalc.spec.execution import Execution
from archcalc.spec.workload import workload


@click.command("explain")
@source()
@click.argument("row", required=False)
@sizes
@click.option(
    "--dtype",
    type=click.Choice((AUTO, *DTYPES)),
    default=AUTO,
    show_default=True,
    help="Dtype of weights and KV cache; auto: as the source states it, bf16 if it does not.",
)
@settings
@output
def command(
    source: str,
    row: str | None,
    batch: int,
    seq: int | None,
    past: int,
    source_seq: int | None,
    dtype: DtypeOrAuto,
    settings: tuple[str, ...],
    form: Format,
    output: str | None,
    no_color: bool,
) -> None:
    """Show the formula of each figure, in symbols and in numbers.

    ROW is the name of a figure in the JSON report (total, active, attention, flops.forward, flops.attention,
    memory.kv_cache_bytes …), memory.activations_bytes, or the path of a weight, matrix product or cache. A path may be
    partial or a glob ('attn.q', 'layers.3.attn.q.weight', 'layers.*.attn.scores', 'layers.*.ffn.*').
    """
    spec = load_source(source, settings)
    work = workload(spec, batch=batch, seq=seq, past=past, source_seq=source_seq)
    # Saved activations belong to a training step, which has no past and does not compute in fp8.
    computed = cache_dtype_of(spec) if dtype == AUTO else dtype
    how = None if past or computed == "fp8" else Execution(dtype=computed)
    subject = model_workload(spec, build(spec, how), work, dtype)

    result = explanation(subject, row)

    def page() -> Page:
        return table_view(result) if form == "csv" else view(result)

    emit(page, lambda: plain(result), form, output=output, color=not no_color)
