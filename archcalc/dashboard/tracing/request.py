"""The model and the text of a trace, from the widgets on top of the page."""

from __future__ import annotations

import shlex
from typing import Final

import msgspec
import streamlit as st

from archcalc.dashboard.running import model_choice
from archcalc.dashboard.running.model_choice import ModelChoice
from archcalc.dashboard.session import IN_URL, say
from archcalc.dashboard.tracing.trace_session import IDS, PROMPT, TraceSession
from archcalc.interp.trace.worked_example import example_of
from archcalc.words import msg

MAX_CHARACTERS: Final = 2000


class TraceRequest(msgspec.Struct, frozen=True):
    """A model, and a prompt or ids; both empty for the default."""

    source: ModelChoice
    prompt: str
    ids: str


def request() -> TraceRequest:
    """Draw the widgets; return their values."""
    say_ = say()
    source = model_choice.choose("trace", lambda name: example_of(name) is None)  # worked examples first
    example = None if source.is_random else example_of(source.name)
    left, right = st.columns([3, 2])
    prompt = left.text_input(
        say_(msg("Prompt")),
        key="trace_prompt",
        help=say_(msg("Left empty: the prompt of the worked example, or a default.")),
        placeholder=example.prompt if example else PROMPT,
        max_chars=MAX_CHARACTERS,
        **IN_URL,
    )
    ids = right.text_input(
        say_(msg("Or token ids")),
        key="trace_ids",
        help=say_(msg("As on the command line: 0,1,2")),
        placeholder=IDS,
        max_chars=MAX_CHARACTERS,
        **IN_URL,
    )
    return TraceRequest(source, prompt, ids)


def command(source: ModelChoice, session: TraceSession, position: int | None) -> str:
    """Return the command line for the same trace."""
    arguments = source.arguments
    # The prompt of the worked example is the default.
    if session.example is None and session.prompt is not None:
        arguments.append(f"--prompt {shlex.quote(session.prompt)}")
    if session.ids is not None:
        arguments.append(f"--ids {shlex.quote(session.ids)}")
    if position is not None:
        arguments.append(f"--position {position}")
    return f"archcalc trace {' '.join(arguments)}"


def python(source: ModelChoice, session: TraceSession, position: int | None) -> str:
    """Return the lines of Python for the same trace, `trace`."""
    texts = ", ".join(map(repr, session.trace.ids.values()))
    argument = "" if position is None else f", position={position}"
    return f"import archcalc\n\nmodel = {source.python}\ntrace = archcalc.trace.run(model, {texts}{argument})"
