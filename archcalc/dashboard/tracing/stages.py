"""One step at a time: what it is, what it reads, what it makes."""

from __future__ import annotations

from typing import Final

import streamlit as st

from archcalc.dashboard import blocks, charts
from archcalc.dashboard.session import IN_URL, escape_markdown, say
from archcalc.dashboard.tracing.made import Made
from archcalc.interp.trace.run import Trace, TracedStep
from archcalc.interp.trace.step_inputs import step_inputs
from archcalc.render.charts.heat_map import heat_map
from archcalc.render.trace import parts_of
from archcalc.render.trace_stage import MOST_WIDE, Look, as_table, functions_of, matrix, n_heads, n_wide, printed_table
from archcalc.render.trace_words import MASKED_CELL, STEP_KINDS
from archcalc.words import Message, msg

_STAGE: Final = "trace_stage"
_PART: Final = "_trace_part"
_TABLES: Final = "trace_tables"


def show(made: Made, trace: Trace) -> str:
    """The step that is stood at; the line of Python that gives its value."""
    one = trace.steps[_stood_at(trace) - 1]
    _said(one)
    look = _look(trace, one)
    before, after = st.columns(2)
    with before:
        st.caption(say()(msg("Before: what it reads")))
        read = step_inputs(trace, one)
        for i, other in enumerate(read):
            _matrix(made, trace, other, look, f"before_{i}")
        if not read:
            st.caption(say()(msg("Nothing that was computed before.")))
    with after:
        st.caption(say()(msg("After: what it makes")))
        _matrix(made, trace, one, look, "after")
        _printed(made, trace, one)
    return f"found[{one.step.name!r}]"


def _stood_at(trace: Trace) -> int:
    """Which step, from 1 on: by part of the model, by a slider, one on or one back."""
    say_, n = say(), len(trace.steps)
    where, slider = st.columns([1, 2], vertical_alignment="bottom")
    if st.session_state.get(_STAGE, 1) > n:
        st.session_state[_STAGE] = n  # of a model with more steps
    at = int(slider.slider(say_(msg("Step, of {n}", n=n)), 1, n, key=_STAGE, **IN_URL))
    starts = {title: trace.steps.index(own[0]) + 1 for title, own in parts_of(trace, say_)}
    st.session_state[_PART] = next((title for title in reversed(starts) if starts[title] <= at), next(iter(starts)))
    where.selectbox(say_(msg("Part")), list(starts), key=_PART, on_change=_go_to_part, args=(starts,))
    with st.container(horizontal=True, vertical_alignment="center"):
        _button("back", msg("Previous"), -1, disabled=at == 1)
        _button("on", msg("Next"), 1, disabled=at == n)
        st.toggle(say_(msg("Tables too")), key=_TABLES, **IN_URL)
    return at


def _go_to_part(starts: dict[str, int]) -> None:
    st.session_state[_STAGE] = starts[st.session_state[_PART]]


def _button(name: str, label: Message, by: int, *, disabled: bool) -> None:
    st.button(say()(label), key=f"trace_{name}", on_click=_move, args=(by,), disabled=disabled)


def _move(by: int) -> None:
    st.session_state[_STAGE] += by


def _said(one: TracedStep) -> None:
    """A step's name, what it is in words, its formula, and what the formula's functions do."""
    say_ = say()
    st.subheader(escape_markdown(one.step.name), anchor=False)
    st.markdown(escape_markdown(say_(STEP_KINDS[one.step.kind])))
    if one.step.formula:
        st.code(f"{one.step.name} = {one.step.formula}", language=None, wrap_lines=True)
        st.caption(
            "  \n".join(escape_markdown(f"{name}: {what}") for name, what in functions_of(one.step.formula, say_))
        )
    if one.step.kind in ("scores", "pattern"):
        st.caption(escape_markdown(say_(MASKED_CELL)))


def _look(trace: Trace, one: TracedStep) -> Look:
    """Which head, and which dimensions, where there are more than are shown."""
    say_, together = say(), (*step_inputs(trace, one), one)
    heads = max(n_heads(trace, other) for other in together)
    wide = max(n_wide(other) for other in together)
    head = start = 0
    if heads > 1:
        head = int(st.slider(say_(msg("Head")), 0, heads - 1, key="trace_head", **IN_URL))
    if wide > MOST_WIDE:
        last = wide - MOST_WIDE
        start = int(
            st.slider(say_(msg("Dimensions from here on")), 0, last, step=MOST_WIDE // 4, key="trace_start", **IN_URL)
        )
    return Look(head, start)


def _matrix(made: Made, trace: Trace, one: TracedStep, look: Look, name: str) -> None:
    found = matrix(trace, one, made.opened.piece, look, say())
    charts.show(heat_map(found), name=f"trace_{name}")
    if st.session_state[_TABLES]:
        blocks.table(as_table(found, say()), f"trace_{name}_table")


def _printed(made: Made, trace: Trace, one: TracedStep) -> None:
    """What texts print of this step, and why it cannot be so where it is not."""
    say_ = say()
    for held in made.held(trace):
        if held.reference.step == one.step.name:
            blocks.table(printed_table(held, say_), "trace_printed")
            (st.success if held.is_equal else st.warning)(say_(msg("as printed") if held.is_equal else msg("not so")))
            if held.reference.en:
                st.markdown(escape_markdown(getattr(held.reference, say_.lang)))
