"""`archcalc report`."""

from __future__ import annotations

from typing import Any

import click

from archcalc.analysis.memory import DTYPES, Dtype
from archcalc.analysis.model_report import model_report
from archcalc.analysis.model_workload import ModelWorkload
from archcalc.cli.language import emit
from archcalc.cli.options import load_source, output, settings, sizes, source
from archcalc.ledger.build import build
from archcalc.render import report as pages
from archcalc.render.output import Format
from archcalc.render.page import Page
from archcalc.render.report import VIEWS, View
from archcalc.spec.workload import workload


@click.command("report")
@source()
@click.option("--view", type=click.Choice(VIEWS), default=None, help="What to show (default: summary, or all in HTML).")
@sizes
@click.option(
    "--dtype", type=click.Choice(DTYPES), default="bf16", show_default=True, help="Dtype of weights and KV cache."
)
@settings
@output
def command(
    source: str,
    view: View | None,
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
    """Show the parameters of a model, and the FLOPs and memory of a workload.

    --view chooses the table: the summary with totals, shares and the closed form, or every weight, layer or large
    tensor. CSV contains that table with exact numbers. The JSON object does not depend on --view.
    """
    spec = load_source(source, settings)
    workload_sizes: dict[str, Any] = {"batch": batch, "seq": seq, "past": past, "source_seq": source_seq}

    def page() -> Page:
        result = model_report(ModelWorkload(spec, build(spec), workload(spec, **workload_sizes), dtype))
        if form == "html" and view is None:
            return pages.full_page(result, spec)
        return pages.view(result, pages.ReportOptions(view or "summary"))

    def data() -> Any:
        from archcalc.contract import report

        return report(spec, dtype=dtype, **workload_sizes)

    emit(page, data, form, output=output, color=not no_color)
