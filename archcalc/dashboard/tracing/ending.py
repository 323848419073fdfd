"""What comes next, and the whole trace as files."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import streamlit as st

from archcalc.dashboard import blocks
from archcalc.dashboard.session import IN_URL, escape_markdown, lang, say
from archcalc.dashboard.tracing.made import Made
from archcalc.interp.trace.run import Trace
from archcalc.interp.trace.target import target
from archcalc.render import trace as pages
from archcalc.render.page import Page
from archcalc.render.text import as_csv, as_markdown
from archcalc.render.trace_page import as_html
from archcalc.words import msg, translator


def show(made: Made, trace: Trace) -> str:
    """The likeliest tokens, and the one that is asked for; the lines of Python that give these."""
    say_, names = say(), {one.step.name for one in trace.steps}
    if "choice" not in names:
        st.info(say_(msg("This model has no head: it says no next token.")))
        return ""
    blocks.table(pages.next_table(trace, made.opened.piece, say_), "trace_next")
    return _target(made, trace)


def _target(made: Made, trace: Trace) -> str:
    """One token's probability and rank, whichever it is."""
    label, most = say()(msg("Target token, by its id")), made.opened.spec.vocab_size - 1
    token = st.number_input(label, 0, most, value=None, step=1, key="trace_target", **IN_URL)
    if token is None:
        return 'found["probabilities"][found.position]'
    found = target(trace, int(token))
    told = {"token": repr(made.opened.piece(found.id)), "p": f"{found.probability:.6g}", "rank": f"{found.rank:,}"}
    st.markdown(escape_markdown(say()(msg("{token}: probability {p}, rank {rank}.", **told))))
    return f"archcalc.trace.target(found, {token})"


def files(made: Made, trace: Trace, name: str) -> None:
    """Everything as the command line writes it."""
    st.markdown(escape_markdown(say()(msg("The whole trace as one file:"))))
    with st.container(horizontal=True):
        for form, text in texts(made, trace, lang()).items():
            file = f"{name}.{form}"
            made_later = partial(_bytes, text)
            st.download_button(form.upper(), made_later, file, _KINDS[form], key=f"save_{file}", on_click="ignore")


_KINDS: Final = {"html": "text/html", "json": "application/json", "csv": "text/csv", "md": "text/markdown"}


def texts(made: Made, trace: Trace, lang: str) -> dict[str, Callable[[], str]]:
    """What `archcalc trace` writes of the same, by format."""
    label, spelled, say_ = made.opened.label, made.opened.piece, translator(lang)
    full, held = pages.is_small(trace), made.held(trace)

    def page() -> Page:
        return pages.page(label, trace, spelled, full=full, held=held, say=say_)

    def data() -> dict[str, Any]:
        return pages.data(label, trace, spelled, full=full, held=held, lang=lang)

    return {
        "html": lambda: as_html(data(), say_),
        "json": lambda: blocks.as_json(data()),
        "csv": lambda: as_csv(page()),
        "md": lambda: as_markdown(page()),
    }


def _bytes(text: Callable[[], str]) -> bytes:
    return text().encode()
