"""`archcalc explain`."""

from __future__ import annotations

import click

from archcalc.analysis.formulas import formulas
from archcalc.analysis.memory import DTYPES, Dtype
from archcalc.analysis.model_workload import ModelWorkload
from archcalc.cli.language import current, emit
from archcalc.cli.options import load_source, output, settings, sizes, source
from archcalc.ledger.build import build
from archcalc.render import explain
from archcalc.render.output import Format
from archcalc.spec.execution import Execution
from archcalc.spec.workload import workload


@click.command("explain")
@source()
@click.argument("row", required=False)
@sizes
@click.option("--dtype", type=click.Choice(DTYPES), default="bf16", show_default=True, help="Weights and caches.")
@settings
@output
def command(
    source: str,
    row: str | None,
    batch: int,
    seq: int | None,
    past: int,
    source_seq: int | None,
    dtype: Dtype,
    settings: tuple[str, ...],
    form: Format,
    output: str | None,
    no_color: bool,
) -> None:
    """Each figure's formula, in symbols and in numbers.

    ROW is a figure as the report's JSON calls it (total, active, attention, flops.forward, flops.attention,
    memory.kv_cache_bytes …), memory.activations_bytes, or the path of a weight, a product or a cache, or part of one
    ('attn.q', 'layers.3.attn.q.weight', 'layers.*.attn.scores', 'layers.*.ffn.*').
    """
    spec = load_source(source, settings)
    work = workload(spec, batch=batch, seq=seq, past=past, source_seq=source_seq)
    # What autograd keeps is asked of a training step, which has no past and computes in no fp8.
    how = None if past or dtype == "fp8" else Execution(dtype=dtype)
    subject = ModelWorkload(spec, build(spec, how), work, dtype)
    say = current()
    page = explain.table_page if form == "csv" else explain.page
    emit(lambda: page(subject, row, say), lambda: formulas(subject, row), form, output=output, color=not no_color)
