"""The page Trace: a forward pass step by step, the attention of each head, the next token."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import streamlit as st

from archcalc.dashboard import job, snippets
from archcalc.dashboard.error_box import show_error, show_errors
from archcalc.dashboard.session import choice, escape_markdown, say
from archcalc.dashboard.tracing import made as making
from archcalc.dashboard.tracing import source
from archcalc.errors import ArchcalcError
from archcalc.words import msg

if TYPE_CHECKING:
    from archcalc.dashboard.tracing.made import Made
    from archcalc.interp.trace.run import Trace


_VIEW_NAMES: Final = {
    "stages": msg("Step by step"),
    "attention": msg("Attention and softmax"),
    "next": msg("What comes next"),
}


def page() -> None:
    """Draw the choice of model and text, the chosen view, then download buttons."""
    say_ = say()
    st.markdown(
        escape_markdown(
            say_(
                msg(
                    "A real forward pass of a small model, step by step: every number is the model's own, "
                    "measured; every formula is exact."
                )
            )
        )
    )
    wanted = source.chosen()
    made = _made(wanted)
    _view(wanted, made, _choose_position(made))


@st.fragment
def _view(wanted: source.Wanted, made: Made, trace: Trace) -> None:
    """Draw the chosen view. As a fragment it is drawn again alone, without the model."""
    from archcalc.dashboard.tracing import ending

    label = say()(msg("View"))
    view = choice(st.segmented_control, label, _VIEW_NAMES, key="trace_view", label_visibility="collapsed")
    last_lines = ""
    with show_errors():
        last_lines = _VIEWS[view](made, trace)
    st.divider()
    ending.files(made, trace, f"{made.opened.spec.name}.trace")
    place = None if trace.position == made.trace.position else trace.position
    snippets.show(source.command(wanted, made, place), f"{source.python(wanted, made, place)}\n{last_lines}")


def _made(wanted: source.Wanted) -> Made:
    """Return the trace, computed now if it is new. An error, or a stop, is shown and ends the page."""
    asked = (wanted.source, wanted.prompt, wanted.ids)
    if found := making.kept(*asked):
        return found
    # True only in the run of the page that the stop button starts.
    if st.session_state.get("stop_trace"):
        st.info(say()(msg("Stopped.")))
        st.button(say()(msg("Trace it again")), key="trace_again")
        st.stop()
    try:
        return job.run(say()(msg("Loading and tracing…")), lambda: making.made(*asked), key="trace")
    except ArchcalcError as error:
        show_error(error)
        st.stop()


def _choose_position(made: Made) -> Trace:
    """Draw the choice of a position in the last text and return the trace there. A source is before its target."""
    from archcalc.render.trace_stage import in_short

    place, say_ = made.trace.position, say()
    chooser, read = st.columns([2, 3], vertical_alignment="center")
    if place:
        # Not in the session: after a visit to another page the text may have another length.
        label = say_(msg("Position"))
        place = int(chooser.slider(label, 0, place, place, key="trace_position", bind="query-params"))
    texts = [
        [escape_markdown(in_short(made.opened.piece(token)) or str(token)) for token in ids]
        for ids in made.trace.ids.values()
    ]
    texts[-1][place] = f"**{texts[-1][place]}**"
    read.markdown(f"{escape_markdown(say_(msg('It reads:')))} {' → '.join(map(' · '.join, texts))}")
    return replace(made.trace, position=place)


def _stages(made: Made, trace: Trace) -> str:
    from archcalc.dashboard.tracing import stages

    return stages.show(made, trace)


def _attention(made: Made, trace: Trace) -> str:
    from archcalc.dashboard.tracing import attention

    return attention.show(made, trace)


def _next(made: Made, trace: Trace) -> str:
    from archcalc.dashboard.tracing import ending

    return ending.show(made, trace)


_VIEWS: Final[dict[str, Callable[[Made, Trace], str]]] = {"stages": _stages, "attention": _attention, "next": _next}
