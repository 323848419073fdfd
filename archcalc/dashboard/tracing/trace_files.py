"""The whole trace as files."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import streamlit as st

from archcalc.dashboard.session import escape_markdown, lang, say
from archcalc.dashboard.tracing.trace_session import TraceSession
from archcalc.interp.trace.result import ForwardTrace
from archcalc.interp.trace.run import Trace
from archcalc.render.output import as_json
from archcalc.render.text import as_csv, as_markdown
from archcalc.render.trace import view
from archcalc.render.trace_page import as_html
from archcalc.results import plain as plain_data
from archcalc.words import Translator, msg, translator

_MEDIA_TYPES: Final = {"html": "text/html", "json": "application/json", "csv": "text/csv", "md": "text/markdown"}


def show(session: TraceSession, trace: Trace) -> None:
    """Draw a button for each format; the files are those of the command line."""
    name = f"{session.source.spec.name}.trace"
    st.markdown(escape_markdown(say()(msg("The whole trace as one file:"))))
    with st.container(horizontal=True):
        for form, media_type in _MEDIA_TYPES.items():
            file = f"{name}.{form}"
            content = partial(_content, session, trace, form, lang())
            st.download_button(form.upper(), content, file, media_type, key=f"save_{file}", on_click="ignore")


def text(session: TraceSession, trace: Trace, form: str, lang: str) -> str:
    """Return what `archcalc trace` writes in a format and a language."""
    return _FORMATS[form](session.result(trace, lang), translator(lang))


def _markdown(result: ForwardTrace, say: Translator) -> str:
    return as_markdown(say.within(view(result)))


_FORMATS: Final[dict[str, Callable[[ForwardTrace, Translator], str]]] = {
    "html": as_html,
    "json": lambda result, say: as_json(plain_data(result)),
    "csv": lambda result, say: as_csv(view(result)),
    "md": _markdown,
}


def _content(session: TraceSession, trace: Trace, form: str, lang: str) -> bytes:
    return text(session, trace, form, lang).encode()
