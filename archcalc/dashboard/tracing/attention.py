"""The attention weights of every head, and the softmax of one query stage by stage."""

from __future__ import annotations

import msgspec
import streamlit as st

from archcalc.dashboard import blocks, charts
from archcalc.dashboard.session import IN_URL, escape_markdown, say
from archcalc.dashboard.tracing.trace_session import TraceSession
from archcalc.interp.trace.glossary import MASKED_CELL
from archcalc.interp.trace.run import Trace, TracedStep
from archcalc.interp.trace.softmax import attentions, softmax_of
from archcalc.render import trace_softmax
from archcalc.render.charts.heat_map import heat_map
from archcalc.render.trace_matrix import Slice, matrix, n_heads, position_names
from archcalc.words import msg

# Heads in a row, the most heads at once, and the most keys of a head with numbers in such a row.
_ROW_HEADS, _MAX_HEADS, _MAX_NUMBERED_KEYS = 3, 12, 5


def show(session: TraceSession, trace: Trace) -> str:
    """Draw the attention weights of a part, and the softmax of a query; return the line of Python for it."""
    say_, parts = say(), attentions(trace)
    if not parts:
        st.info(say_(msg("This model has no attention with a softmax.")))
        return ""
    part = str(st.selectbox(say_(msg("Attention")), parts, key="trace_attention", **IN_URL))
    pattern = next(traced for traced in trace.steps if traced.step.name == f"{part}.pattern")
    legend = msg("Rows are queries, columns are keys. The weights of a row sum to 1.")
    st.caption(escape_markdown(" ".join(map(say_, (legend, MASKED_CELL)))))
    _patterns(session, trace, pattern)
    return _softmax(session, trace, pattern, part)


def _patterns(session: TraceSession, trace: Trace, pattern: TracedStep) -> None:
    """Draw a heat map for each head; of many heads, those from one on."""
    heads, first = n_heads(trace, pattern), 0
    if heads > _MAX_HEADS:
        label = say()(msg("First head, of {n} at once", n=_MAX_HEADS))
        first = int(st.slider(label, 0, heads - _MAX_HEADS, step=1, key="trace_first_head", **IN_URL))
    visible = range(first, min(first + _MAX_HEADS, heads))
    for begin in range(0, len(visible), _ROW_HEADS):
        row = st.columns(_ROW_HEADS if heads > 1 else 1)
        for column, head in zip(row, visible[begin : begin + _ROW_HEADS], strict=False):
            with column:
                cells = matrix(trace, pattern, session.source.piece, Slice(head), say())
                is_small = heads > 1 and len(cells.columns) > _MAX_NUMBERED_KEYS
                cells = msgspec.structs.replace(cells, is_small=is_small)
                charts.show(heat_map(cells), name=f"trace_pattern_{head}")


def _softmax(session: TraceSession, trace: Trace, pattern: TracedStep, part: str) -> str:
    say_, (heads, queries, _) = say(), pattern.value.shape
    head, query = 0, pattern.row(trace.position)
    names = position_names(trace, pattern, session.source.piece)
    keys = position_names(trace, pattern, session.source.piece, keys=True)
    choosers = iter(st.columns(2) if heads > 1 else [st.container()])
    if heads > 1:
        head = int(next(choosers).slider(say_(msg("Head")), 0, heads - 1, key="trace_head", **IN_URL))
    if queries > 1:
        label = say_(msg("Position of the query"))
        query = int(next(choosers).slider(label, 0, queries - 1, query, key="trace_query", bind="query-params"))
    st.caption(escape_markdown(say_(msg("Query {token}; each column is a key.", token=names[query]))))
    softmax = softmax_of(session.model, trace, part, head=head, query=query)
    blocks.table(trace_softmax.table(softmax, keys, say_), "trace_softmax")
    hidden = [key for key, is_hidden in zip(keys, softmax.hidden, strict=True) if is_hidden]
    text = (
        say_(
            msg(
                "Masked: {keys}. The causal mask or a window hides these keys from this query: their scores are −∞, "
                "and they take no part in the softmax.",
                keys=", ".join(hidden),
            )
        )
        if hidden
        else say_(msg("Nothing is masked: this query sees every key."))
    )
    st.markdown(escape_markdown(text))
    return f"archcalc.trace.softmax(model, trace, {part!r}, head={head}, query={query})"
