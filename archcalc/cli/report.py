"""`archcalc report`."""

from __future__ import annotations

from typing import Any

import click

from archcalc.analysis.memory import DTYPES, Dtype
from archcalc.analysis.model_report import model_report
from archcalc.analysis.model_workload import ModelWorkload
from archcalc.analysis.transformers_report import transformers_report
from archcalc.cli.language import emit
from archcalc.cli.options import load_source, output, settings, sizes, source
from archcalc.contract import ENGINES, Engine, check_engine, counted_report
from archcalc.ledger.build import build
from archcalc.render import report as pages
from archcalc.render import transformers_report as counted_page
from archcalc.render.output import Format
from archcalc.render.page import Page
from archcalc.render.report import VIEWS, View
from archcalc.sources import config_of
from archcalc.spec.workload import workload


@click.command("report")
@source()
@click.option("--view", type=click.Choice(VIEWS), default=None, help="What to show (default: summary, or all in HTML).")
@sizes
@click.option(
    "--dtype", type=click.Choice(DTYPES), default="bf16", show_default=True, help="Dtype of weights and KV cache."
)
@click.option(
    "--engine",
    type=click.Choice(ENGINES),
    default="archcalc",
    show_default=True,
    help="Who counts: transformers counts the parameters of any model that it knows.",
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
    engine: Engine,
    settings: tuple[str, ...],
    form: Format,
    output: str | None,
    no_color: bool,
) -> None:
    """Show the parameters of a model, and the FLOPs and memory of a workload.

    --view chooses the table: the summary with totals, shares and the closed form, or every weight, layer or large
    tensor. CSV contains that table with exact numbers. The JSON object does not depend on --view.

    --engine transformers counts the parameters of a model that archcalc does not read, such as a vision or speech
    model: no formulas, FLOPs or caches. It runs no code of the repository.
    """
    workload_sizes: dict[str, Any] = {"batch": batch, "seq": seq, "past": past, "source_seq": source_seq}
    if engine != "archcalc":
        stated = workload_sizes | {"batch": batch != 1, "view": view, "settings": settings}
        check_engine(engine, stated)
        counted = transformers_report(config_of(source), dtype=dtype)
        emit(
            lambda: counted_page.view(counted),
            lambda: counted_report(counted),
            form,
            output=output,
            color=not no_color,
        )
        return
    spec = load_source(source, settings)

    def page() -> Page:
        result = model_report(ModelWorkload(spec, build(spec), workload(spec, **workload_sizes), dtype))
        if form == "html" and view is None:
            return pages.full_page(result, spec)
        return pages.view(result, pages.ReportOptions(view or "summary"))

    def data() -> Any:
        from archcalc.contract import report

        return report(spec, dtype=dtype, **workload_sizes)

    emit(page, data, form, output=output, color=not no_color)
