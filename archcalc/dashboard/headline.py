"""The headline of a model: its total in a sentence, and a row each for active parameters, bytes and FLOPs."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

import msgspec
import streamlit as st

from archcalc.analysis.value_names import SURENESS
from archcalc.contract import Report, ReportWorkload
from archcalc.dashboard.session import say
from archcalc.units import exact, human, percent
from archcalc.words import Bytes, msg


class HeadlineRow(msgspec.Struct, frozen=True):
    """A number in full, its label, unit and short form; `kind` is exact, measured or modeled."""

    label: str
    exact: str
    unit: str
    short: str
    kind: str


def show(label: str, report: Report) -> None:
    """Draw the headline of a report; `label` is the model's display name."""
    total = f"<strong>{exact(report['params']['total'])}</strong>"
    sentence = say()(msg("{name} has {total} parameters.", name=escape(label), total=total))
    rows = "".join(_row(row) for row in headline_rows(report))
    st.html(f'<div class="ac-headline"><h2>{sentence}</h2><dl>{rows}</dl></div>')


def headline_rows(report: Report) -> Iterator[HeadlineRow]:
    """Yield the rows below the headline; an empty cache has none."""
    say_, work, kinds = say(), report["workload"], report["kinds"]
    total, active = report["params"]["total"], report["params"]["active"]
    weights, cache = report["memory"]["weights_bytes"], report["memory"]["kv_cache_bytes"]
    flops, tokens = report["flops"]["forward"], exact(work["past"] + work["seq"])
    parameters, bytes_unit = say_(msg("parameters")), say_(msg("bytes"))
    active_share = say_(msg("all of them")) if active == total else percent(active, total)
    weights_label = say_(msg("Weights in {dtype}", dtype=work["dtype"]))
    yield HeadlineRow(say_(msg("Active per token")), exact(active), parameters, active_share, kinds["params"])
    yield HeadlineRow(weights_label, exact(weights), bytes_unit, say_(Bytes(weights)), kinds["memory"])
    if cache:
        cache_label = say_(msg("KV cache of {tokens} tokens", tokens=tokens))
        yield HeadlineRow(cache_label, exact(cache), bytes_unit, say_(Bytes(cache)), kinds["memory"])
    yield HeadlineRow(_forward(work), exact(flops), "FLOPs", human(flops), kinds["flops.forward"])


def _forward(work: ReportWorkload) -> str:
    sizes = {name: exact(work[name]) for name in ("seq", "source_seq") if name in work}
    if "source_seq" in work:
        return say()(msg("Forward pass over {source_seq} source and {seq} target tokens", **sizes))
    return say()(msg("Forward pass over {seq} tokens", **sizes))


def _row(row: HeadlineRow) -> str:
    details = " · ".join((row.unit, row.short, say()(SURENESS[row.kind])))
    return f"<div><dt>{escape(row.label)}</dt><dd>{escape(row.exact)}</dd><dd>{escape(details)}</dd></div>"
