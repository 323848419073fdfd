"""The page of a forward pass: step by step, attention, the next token."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import streamlit as st

from archcalc.dashboard import job, snippets
from archcalc.dashboard.error_box import show_error, show_errors
from archcalc.dashboard.session import choice, escape_markdown, say
from archcalc.dashboard.tracing import request as requests
from archcalc.dashboard.tracing import trace_session
from archcalc.errors import ArchcalcError
from archcalc.words import msg

if TYPE_CHECKING:
    from archcalc.dashboard.tracing.trace_session import TraceSession
    from archcalc.interp.trace.run import Trace


_VIEW_NAMES: Final = {
    "stages": msg("Step by step"),
    "attention": msg("Attention and softmax"),
    "next": msg("Next token"),
}


def page() -> None:
    """Draw the model and its text, the chosen view, and the files."""
    say_ = say()
    st.markdown(
        escape_markdown(
            say_(
                msg(
                    "The forward pass of a small model, step by step. Numbers are measured in the model, expressions "
                    "are exact."
                )
            )
        )
    )
    request = requests.request()
    session = _session(request)
    _view(request, session, _at_position(session))


@st.fragment
def _view(request: requests.TraceRequest, session: TraceSession, trace: Trace) -> None:
    """Draw the chosen view; as a fragment, it is redrawn without the rest of the page."""
    from archcalc.dashboard.tracing import trace_files

    label = say()(msg("View"))
    view = choice(st.segmented_control, label, _VIEW_NAMES, key="trace_view", label_visibility="collapsed")
    line = ""
    with show_errors():
        line = _VIEWS[view](session, trace)
    st.divider()
    trace_files.show(session, trace)
    position = None if trace.position == session.trace.position else trace.position
    arguments = request.source, session, position
    snippets.show(requests.command(*arguments), f"{requests.python(*arguments)}\n{line}")


def _session(request: requests.TraceRequest) -> TraceSession:
    """Return the trace, from the cache or computed now; after an error or a stop, the page ends here."""
    key = (request.source, request.prompt, request.ids)
    if session := trace_session.cached(*key):
        return session
    # True only in the run of the page that the stop button starts.
    if st.session_state.get("stop_trace"):
        st.info(say()(msg("Stopped.")))
        st.button(say()(msg("Trace again")), key="trace_again")
        st.stop()
    try:
        return job.run(say()(msg("Loading and tracing…")), lambda: trace_session.trace_session(*key), key="trace")
    except ArchcalcError as error:
        show_error(error)
        st.stop()


def _at_position(session: TraceSession) -> Trace:
    """Draw the chooser of a position in the last text; return the trace at it."""
    from archcalc.render.trace_matrix import token_text

    position, say_ = session.trace.position, say()
    chooser, read = st.columns([2, 3], vertical_alignment="center")
    if position:
        # Only in the URL: on a return to the page the text may have another last position.
        label = say_(msg("Position"))
        position = int(chooser.slider(label, 0, position, position, key="trace_position", bind="query-params"))
    texts = [
        [escape_markdown(token_text(session.source.piece(token)) or str(token)) for token in ids]
        for ids in session.trace.ids.values()
    ]
    texts[-1][position] = f"**{texts[-1][position]}**"
    read.markdown(f"{escape_markdown(say_(msg('Input:')))} {' → '.join(map(' · '.join, texts))}")
    return replace(session.trace, position=position)


def _stages(session: TraceSession, trace: Trace) -> str:
    from archcalc.dashboard.tracing import steps

    return steps.show(session, trace)


def _attention(session: TraceSession, trace: Trace) -> str:
    from archcalc.dashboard.tracing import attention

    return attention.show(session, trace)


def _next(session: TraceSession, trace: Trace) -> str:
    from archcalc.dashboard.tracing import prediction

    return prediction.show(session, trace)


_VIEWS: Final[dict[str, Callable[[TraceSession, Trace], str]]] = {
    "stages": _stages,
    "attention": _attention,
    "next": _next,
}
