"""The model and the text of a trace, from the widgets on top of the page."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from typing import Final

import msgspec
import streamlit as st

from archcalc.dashboard import chooser
from archcalc.dashboard.models import runnable_models
from archcalc.dashboard.session import IN_URL, choice, say
from archcalc.dashboard.tracing.trace_session import IDS, PROMPT, TraceSession, TraceSource
from archcalc.interp.trace.worked_example import example_of
from archcalc.spec.set_options import changes
from archcalc.words import msg

# Part of the URL.
_WEIGHTS: Final = {
    "weights": msg("Trained"),
    "random": msg("Random"),
}

MAX_CHARACTERS: Final = 2000


class TraceRequest(msgspec.Struct, frozen=True):
    """A model, and a prompt or ids; both empty for the default."""

    source: TraceSource
    prompt: str
    ids: str


def request() -> TraceRequest:
    """Draw the widgets; return their values."""
    say_ = say()
    left, right = st.columns([2, 3])
    with left:
        weights = choice(st.segmented_control, say_(msg("Weights")), _WEIGHTS, key="trace_from")
    with right if weights == "weights" else st.container():
        source = _SOURCES[weights]()
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


def _trained() -> TraceSource:
    sources = runnable_models()
    # Worked examples first.
    names = sorted(sources, key=lambda name: example_of(sources[name]) is None)
    return TraceSource(sources[st.selectbox(say()(msg("Model")), names, key="trace_model", **IN_URL)])


def _random() -> TraceSource:
    """Draw the chooser of an architecture, which other pages have too, and the seed."""
    chooser.draw()
    model, label = chooser.selection(), say()(msg("Seed"))
    seed = st.number_input(label, min_value=0, max_value=2**31 - 1, value=0, key="trace_seed", **IN_URL)
    return TraceSource(model.source, json.dumps(model.base), model.settings, int(seed))


_SOURCES: Final[dict[str, Callable[[], TraceSource]]] = {"weights": _trained, "random": _random}


def command(source: TraceSource, session: TraceSession, position: int | None) -> str:
    """Return the command line for the same trace."""
    arguments = [shlex.quote(source.name)]
    if source.is_random:
        arguments += ["--random-weights", "--seed", str(source.seed)]
        arguments += [f"--set {shlex.quote(setting)}" for setting in source.settings]
    # The prompt of the worked example is the default.
    if session.example is None and session.prompt is not None:
        arguments.append(f"--prompt {shlex.quote(session.prompt)}")
    if session.ids is not None:
        arguments.append(f"--ids {shlex.quote(session.ids)}")
    if position is not None:
        arguments.append(f"--position {position}")
    return f"archcalc trace {' '.join(arguments)}"


def python(source: TraceSource, session: TraceSession, position: int | None) -> str:
    """Return the lines of Python for the same trace, `trace`."""
    if source.is_random:
        options = changes(source.settings)
        spec = f"archcalc.load({source.name!r}" + (f", {options!r})" if options else ")")
        model = f"archcalc.random_model({spec}, seed={source.seed})"
    else:
        model = f"archcalc.load_model({source.name!r})"
    texts = ", ".join(map(repr, session.trace.ids.values()))
    argument = "" if position is None else f", position={position}"
    return f"import archcalc\n\nmodel = {model}\ntrace = archcalc.trace.run(model, {texts}{argument})"
