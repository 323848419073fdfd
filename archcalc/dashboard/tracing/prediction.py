"""The next token: the likeliest ones, and any token's probability."""

from __future__ import annotations

import streamlit as st

from archcalc.dashboard import blocks
from archcalc.dashboard.session import IN_URL, escape_markdown, say
from archcalc.dashboard.tracing.trace_session import TraceSession
from archcalc.interp.trace.result import next_tokens
from archcalc.interp.trace.run import Trace
from archcalc.interp.trace.target import target
from archcalc.render import trace as render
from archcalc.words import msg


def show(session: TraceSession, trace: Trace) -> str:
    """Draw the likeliest tokens and the target token; return the line of Python for them."""
    rows = next_tokens(trace, session.source.piece)
    if not rows:
        st.info(say()(msg("This model has no head: it predicts no next token.")))
        return ""
    blocks.table(render.next_tokens(rows), "trace_next")
    return _target(session, trace)


def _target(session: TraceSession, trace: Trace) -> str:
    """Draw the probability and the rank of one token."""
    label, most = say()(msg("Target token, by its id")), session.source.spec.vocab_size - 1
    token = st.number_input(label, 0, most, value=None, step=1, key="trace_target", **IN_URL)
    if token is None:
        return "trace['probabilities'][trace.position]"
    result = target(trace, int(token))
    text = msg(
        "{token}: probability {p}, rank {rank}.",
        token=repr(session.source.piece(result.id)),
        p=f"{result.probability:.6g}",
        rank=f"{result.rank:,}",
    )
    st.markdown(escape_markdown(say()(text)))
    return f"archcalc.trace.target(trace, {token})"
