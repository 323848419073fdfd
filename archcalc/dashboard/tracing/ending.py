"""What comes next, and the whole trace as files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from archcalc.dashboard import blocks
from archcalc.dashboard.session import KEPT, lang, plain, say
from archcalc.dashboard.tracing.made import Made
from archcalc.interp.trace.run import Trace
from archcalc.interp.trace.target import target
from archcalc.render import trace as pages
from archcalc.render.page import Page
from archcalc.render.text import as_csv, as_markdown
from archcalc.render.trace_page import as_html


def show(made: Made, trace: Trace) -> str:
    """The likeliest tokens, and the one that is asked for; the lines of Python that give these."""
    say_, names = say(), {one.step.name for one in trace.steps}
    if "choice" not in names:
        st.info(say_("app_trace.no_head"))
        return ""
    blocks.table(pages.next_table(trace, made.opened.piece, say_), "trace_next")
    return _target(made, trace)


def _target(made: Made, trace: Trace) -> str:
    """One token's probability and rank, whichever it is."""
    label, most = say()("app_trace.target"), made.opened.spec.vocab_size - 1
    token = st.number_input(label, 0, most, value=None, step=1, key="trace_target", **KEPT)
    if token is None:
        return 'found["probabilities"][found.position]'
    found = target(trace, int(token))
    told = {"token": repr(made.opened.piece(found.id)), "p": f"{found.probability:.6g}", "rank": f"{found.rank:,}"}
    st.markdown(plain(say()("app_trace.target_is", **told)))
    return f"from archcalc.interp.trace.target import target\n\ntarget(found, {token})"


def files(made: Made, trace: Trace, name: str) -> None:
    """Everything as the command line writes it."""
    label, full = made.opened.label, pages.is_small(trace)

    def page() -> Page:
        return pages.page(label, trace, made.opened.piece, full=full, held=made.held, say=say())

    def data() -> dict[str, Any]:
        return pages.data(label, trace, made.opened.piece, full=full, held=made.held, lang=lang())

    st.markdown(plain(say()("app_trace.files")))
    with st.container(horizontal=True):
        for suffix, (kind, text) in {
            "html": ("text/html", lambda: as_html(data(), say())),
            "json": ("application/json", lambda: blocks.as_json(data())),
            "csv": ("text/csv", lambda: as_csv(page())),
            "md": ("text/markdown", lambda: as_markdown(page())),
        }.items():
            _save(suffix, kind, text, name)


def _save(suffix: str, kind: str, text: Callable[[], str], name: str) -> None:
    file = f"{name}.{suffix}"
    st.download_button(
        suffix.upper(), lambda: text().encode(), file, kind, key=f"save_trace_{suffix}", on_click="ignore"
    )
