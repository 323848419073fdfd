"""`archcalc report`."""

from __future__ import annotations

from typing import Any

import click

from archcalc.analysis.memory import DTYPES, Dtype
from archcalc.analysis.model_workload import ModelWorkload
from archcalc.cli.language import emit
from archcalc.cli.options import load_source, output, settings, sizes, source
from archcalc.ledger.build import build
from archcalc.render.output import Format
from archcalc.render.page import Page
from archcalc.render.report import VIEWS, View, full_page, page
from archcalc.spec.workload import workload


@click.command("report")
@source()
@click.option("--view", type=click.Choice(VIEWS), default=None, help="What to show (default: summary; html: all).")
@sizes
@click.option("--dtype", type=click.Choice(DTYPES), default="bf16", show_default=True, help="Weights and caches.")
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
    """A model's parameters: totals, shares in both accountings, the closed form; every weight, layer or large tensor.

    Below them, FLOPs and memory of a workload. CSV holds the view's table with exact numbers; JSON is one object,
    whatever the view.
    """
    spec = load_source(source, settings)
    asked: dict[str, Any] = {"batch": batch, "seq": seq, "past": past, "source_seq": source_seq}

    def shown() -> Page:
        subject = ModelWorkload(spec, build(spec), workload(spec, **asked), dtype)
        return full_page(subject) if form == "html" and view is None else page(subject, view or "summary")

    def data() -> dict[str, Any]:
        from archcalc.contract import report

        return report(spec, dtype=dtype, **asked)

    emit(shown, data, form, output=output, color=not no_color)
