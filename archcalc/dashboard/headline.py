"""The answer: a model's total in a sentence, and a line each for what it activates, stores and computes."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

import msgspec
import streamlit as st

from archcalc.analysis.value_names import SURENESS
from archcalc.contract import Report, ReportWorkload
from archcalc.dashboard.session import say
from archcalc.units import exact, human, human_bytes, percent
from archcalc.words import msg


class Line(msgspec.Struct, frozen=True):
    """An exact number: what it is of, its unit, the number in short, and its kind: exact, measured or modelled."""

    label: str
    exact: str
    unit: str
    short: str
    kind: str


def show(label: str, report: Report) -> None:
    """The headline of a model's report; `label` is the name that people know it by."""
    total = f"<strong>{exact(report['params']['total'])}</strong>"
    sentence = say()(msg("{name} has {total} parameters.", name=escape(label), total=total))
    rows = "".join(_row(line) for line in lines(report))
    st.html(f'<div class="ac-headline"><h2>{sentence}</h2><dl>{rows}</dl></div>')


def lines(report: Report) -> Iterator[Line]:
    """What stands under the headline; a cache of nothing is left out."""
    say_, work, kinds = say(), report["workload"], report["kinds"]
    total, active = report["params"]["total"], report["params"]["active"]
    weights, cache = report["memory"]["weights_bytes"], report["memory"]["kv_cache_bytes"]
    flops, tokens = report["flops"]["forward"], exact(work["past"] + work["seq"])
    parameters, in_bytes = say_(msg("parameters")), say_(msg("bytes"))
    used = say_(msg("all of them")) if active == total else percent(active, total)
    of_weights = say_(msg("Weights in {dtype}", dtype=work["dtype"]))
    yield Line(say_(msg("Active per token")), exact(active), parameters, used, kinds["params"])
    yield Line(of_weights, exact(weights), in_bytes, human_bytes(weights), kinds["memory"])
    if cache:
        of_cache = say_(msg("KV cache of {tokens} tokens", tokens=tokens))
        yield Line(of_cache, exact(cache), in_bytes, human_bytes(cache), kinds["memory"])
    yield Line(_forward(work), exact(flops), "FLOPs", human(flops), kinds["flops.forward"])


def _forward(work: ReportWorkload) -> str:
    sizes = {name: exact(work[name]) for name in ("seq", "source_seq") if name in work}
    if "source_seq" in work:
        return say()(msg("Forward pass over {source_seq} source and {seq} target tokens", **sizes))
    return say()(msg("Forward pass over {seq} tokens", **sizes))


def _row(line: Line) -> str:
    more = " · ".join((line.unit, line.short, say()(SURENESS[line.kind])))
    return f"<div><dt>{escape(line.label)}</dt><dd>{escape(line.exact)}</dd><dd>{escape(more)}</dd></div>"
