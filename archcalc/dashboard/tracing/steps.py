"""One step at a time: its expression, its inputs, its value."""

from __future__ import annotations

from typing import Final

import streamlit as st

from archcalc.dashboard import blocks, charts
from archcalc.dashboard.session import IN_URL, escape_markdown, say
from archcalc.dashboard.tracing.trace_session import TraceSession
from archcalc.interp.trace.glossary import MASKED_CELL, STEP_KINDS, functions_of
from archcalc.interp.trace.result import VERDICTS
from archcalc.interp.trace.run import Trace, TracedStep
from archcalc.interp.trace.step_inputs import step_inputs
from archcalc.render.charts.heat_map import heat_map
from archcalc.render.trace import part_titles
from archcalc.render.trace_matrix import (
    MAX_DIMENSIONS,
    Slice,
    as_table,
    matrix,
    n_dimensions,
    n_heads,
    published_table,
)
from archcalc.words import Message, msg

_STAGE: Final = "trace_stage"
_PART: Final = "_trace_part"
_TABLES: Final = "trace_tables"


def show(session: TraceSession, trace: Trace) -> str:
    """Draw the chosen step; return the line of Python for its value."""
    traced = trace.steps[_chosen(trace) - 1]
    _describe(traced)
    part = _slice(trace, traced)
    before, after = st.columns(2)
    with before:
        st.caption(say()(msg("Inputs")))
        inputs = step_inputs(trace, traced)
        for i, other in enumerate(inputs):
            _matrix(session, trace, other, part, f"before_{i}")
        if not inputs:
            st.caption(say()(msg("No earlier step.")))
    with after:
        st.caption(say()(msg("Value")))
        _matrix(session, trace, traced, part, "after")
        _published(session, trace, traced)
    return f"trace[{traced.step.name!r}]"


def _chosen(trace: Trace) -> int:
    """Draw the choosers of a step: part of the model, slider, buttons; return its number, from 1."""
    say_, n = say(), len(trace.steps)
    parts, slider = st.columns([1, 2], vertical_alignment="bottom")
    if st.session_state.get(_STAGE, 1) > n:
        st.session_state[_STAGE] = n  # of a model with more steps
    number = int(slider.slider(say_(msg("Step, of {n}", n=n)), 1, n, key=_STAGE, **IN_URL))
    titles = list(map(say_, part_titles((traced.step.kind, traced.step.layer) for traced in trace.steps)))
    starts = {title: titles.index(title) + 1 for title in titles if title}
    st.session_state[_PART] = next((title for title in reversed(titles[:number]) if title), next(iter(starts)))
    parts.selectbox(say_(msg("Part")), list(starts), key=_PART, on_change=_go, args=(starts,))
    with st.container(horizontal=True, vertical_alignment="center"):
        _button("back", msg("Previous"), -1, disabled=number == 1)
        _button("on", msg("Next"), 1, disabled=number == n)
        st.toggle(say_(msg("Tables too")), key=_TABLES, **IN_URL)
    return number


def _go(starts: dict[str, int]) -> None:
    st.session_state[_STAGE] = starts[st.session_state[_PART]]


def _button(name: str, label: Message, offset: int, *, disabled: bool) -> None:
    st.button(say()(label), key=f"trace_{name}", on_click=_move, args=(offset,), disabled=disabled)


def _move(offset: int) -> None:
    st.session_state[_STAGE] += offset


def _describe(traced: TracedStep) -> None:
    """Draw the name, the description and the expression of a step, and what the functions compute."""
    say_ = say()
    st.subheader(escape_markdown(traced.step.name), anchor=False)
    st.markdown(escape_markdown(say_(STEP_KINDS[traced.step.kind])))
    if traced.step.expression:
        st.code(f"{traced.step.name} = {traced.step.expression}", language=None, wrap_lines=True)
        functions = functions_of([traced.step.expression])
        st.caption("  \n".join(escape_markdown(f"{call}: {say_(meaning)}") for call, meaning in functions))
    if traced.step.kind in ("scores", "pattern"):
        st.caption(escape_markdown(say_(MASKED_CELL)))


def _slice(trace: Trace, traced: TracedStep) -> Slice:
    """Draw the choosers of a head and of dimensions, where there are more than a matrix has."""
    say_, together = say(), (*step_inputs(trace, traced), traced)
    heads = max(n_heads(trace, other) for other in together)
    width = max(n_dimensions(other) for other in together)
    head = start = 0
    if heads > 1:
        head = int(st.slider(say_(msg("Head")), 0, heads - 1, key="trace_head", **IN_URL))
    if width > MAX_DIMENSIONS:
        last, step = width - MAX_DIMENSIONS, MAX_DIMENSIONS // 4
        start = int(st.slider(say_(msg("First dimension")), 0, last, step=step, key="trace_start", **IN_URL))
    return Slice(head, start)


def _matrix(session: TraceSession, trace: Trace, traced: TracedStep, part: Slice, name: str) -> None:
    cells = matrix(trace, traced, session.source.piece, part, say())
    charts.show(heat_map(cells), name=f"trace_{name}")
    if st.session_state[_TABLES]:
        blocks.table(as_table(cells, say()), f"trace_{name}_table")


def _published(session: TraceSession, trace: Trace, traced: TracedStep) -> None:
    """Draw the published value of a step, and the reason where it differs."""
    say_ = say()
    for check in session.checks(trace):
        if check.reference.step == traced.step.name:
            blocks.table(published_table(check, say_), "trace_printed")
            (st.success if check.is_equal else st.warning)(say_(VERDICTS["equal" if check.is_equal else "different"]))
            if check.reference.en:
                st.markdown(escape_markdown(getattr(check.reference, say_.lang)))
