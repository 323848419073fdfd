"""What every head attends to, and one query's softmax step by step."""

from __future__ import annotations

import msgspec
import streamlit as st

from archcalc.dashboard import blocks, charts
from archcalc.dashboard.session import IN_URL, escape_markdown, say
from archcalc.dashboard.tracing.made import Made
from archcalc.interp.trace.run import Trace, TracedStep
from archcalc.interp.trace.softmax import attentions, softmax_of
from archcalc.render import trace_softmax
from archcalc.render.charts.heat_map import heat_map
from archcalc.render.trace_stage import Look, matrix, n_heads, places
from archcalc.render.trace_words import MASKED_CELL
from archcalc.words import msg

# Heads side by side, and how many at once.
_ROW, _MOST = 3, 12
# Up to how many keys a head in such a row has room for numbers.
_FEW = 5


def show(made: Made, trace: Trace) -> str:
    """The patterns of one attention, head by head, and the softmax of a query; the lines of Python that give it."""
    say_, every = say(), attentions(trace)
    if not every:
        st.info(say_(msg("This model has no attention with a softmax.")))
        return ""
    part = str(st.selectbox(say_(msg("Attention")), every, key="trace_attention", **IN_URL))
    pattern = next(one for one in trace.steps if one.step.name == f"{part}.pattern")
    reading = (
        msg("Queries down, keys across: each row is where one place looks, in shares that sum to 1."),
        MASKED_CELL,
    )
    st.caption(escape_markdown(" ".join(map(say_, reading))))
    _patterns(made, trace, pattern)
    return _softmax(made, trace, pattern, part)


def _patterns(made: Made, trace: Trace, pattern: TracedStep) -> None:
    """A heat map a head; of many heads, a dozen from one on."""
    heads, first = n_heads(trace, pattern), 0
    if heads > _MOST:
        label = say()(msg("Heads from here on, {n} at once", n=_MOST))
        first = int(st.slider(label, 0, heads - _MOST, step=1, key="trace_first_head", **IN_URL))
    shown = range(first, min(first + _MOST, heads))
    for begin in range(0, len(shown), _ROW):
        row = st.columns(_ROW if heads > 1 else 1)
        for place, head in zip(row, shown[begin : begin + _ROW], strict=False):
            with place:
                found = matrix(trace, pattern, made.opened.piece, Look(head), say())
                found = msgspec.structs.replace(found, is_small=heads > 1 and len(found.columns) > _FEW)
                charts.show(heat_map(found), name=f"trace_pattern_{head}")


def _softmax(made: Made, trace: Trace, pattern: TracedStep, part: str) -> str:
    say_, (heads, queries, _) = say(), pattern.value.shape
    head, query = 0, min(trace.position, queries - 1)
    names, keys = places(trace, pattern, made.opened.piece), places(trace, pattern, made.opened.piece, keys=True)
    choosers = iter(st.columns(2) if heads > 1 else [st.container()])
    if heads > 1:
        head = int(next(choosers).slider(say_(msg("Head")), 0, heads - 1, key="trace_head", **IN_URL))
    if queries > 1:
        label = say_(msg("Query, by its place"))
        query = int(next(choosers).slider(label, 0, queries - 1, query, key="trace_query", bind="query-params"))
    st.caption(escape_markdown(say_(msg("Query {token}; a column is a key.", token=names[query]))))
    told = f"head={head}, query={query}"
    found = softmax_of(made.model, trace, part, head=head, query=query)
    blocks.table(trace_softmax.table(found, keys, say_), "trace_softmax")
    hidden = [key for key, is_hidden in zip(keys, found.hidden, strict=True) if is_hidden]
    said = (
        say_(
            msg(
                "Masked: {keys}. The causal mask, or a window, hides these keys from this query: their scores are "
                "−∞ and they take no part in the softmax.",
                keys=", ".join(hidden),
            )
        )
        if hidden
        else say_(msg("Nothing is masked: this query sees every key."))
    )
    st.markdown(escape_markdown(said))
    return f"archcalc.trace.softmax(model, found, {part!r}, {told})"
