"""Which model is traced, and on what: chosen on top of the page, kept in the URL."""

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
from archcalc.dashboard.tracing.made import IDS, PROMPT, Made, Source
from archcalc.interp.trace.worked_example import example_of
from archcalc.spec.set_options import changes
from archcalc.words import msg

# They go into the link.
_FROM: Final = {
    "weights": msg("Trained"),
    "random": msg("Random"),
}

MOST_CHARACTERS: Final = 2000


class Wanted(msgspec.Struct, frozen=True):
    """A model, and a text or ids for it; both empty for what comes with the model."""

    source: Source
    prompt: str
    ids: str


def chosen() -> Wanted:
    """Draw the chooser; what it says."""
    say_ = say()
    left, right = st.columns([2, 3])
    with left:
        way = choice(st.segmented_control, say_(msg("Weights")), _FROM, key="trace_from")
    with right if way == "weights" else st.container():
        source = _WAYS[way]()
    example = None if source.is_random else example_of(source.name)
    left, right = st.columns([3, 2])
    prompt = left.text_input(
        say_(msg("Prompt")),
        key="trace_prompt",
        help=say_(msg("Empty: the published prompt of the worked example, or a few words where there is none.")),
        placeholder=example.prompt if example else PROMPT,
        max_chars=MOST_CHARACTERS,
        **IN_URL,
    )
    ids = right.text_input(
        say_(msg("Or token ids")),
        key="trace_ids",
        help=say_(msg("As on the command line: 0,1,2")),
        placeholder=IDS,
        max_chars=MOST_CHARACTERS,
        **IN_URL,
    )
    return Wanted(source, prompt, ids)


def _trained() -> Source:
    there = runnable_models()
    # Worked examples first.
    names = sorted(there, key=lambda name: example_of(there[name]) is None)
    return Source(there[st.selectbox(say()(msg("Model")), names, key="trace_model", **IN_URL)])


def _random() -> Source:
    """Any architecture, chosen as on the other pages."""
    chooser.draw()
    found, label = chooser.selection(), say()(msg("Seed"))
    seed = st.number_input(label, min_value=0, max_value=2**31 - 1, value=0, key="trace_seed", **IN_URL)
    return Source(found.source, json.dumps(found.base), found.settings, int(seed))


_WAYS: Final[dict[str, Callable[[], Source]]] = {"weights": _trained, "random": _random}


def command(wanted: Wanted, made: Made, position: int | None) -> str:
    """The command line that traces the same."""
    source, told = wanted.source, [shlex.quote(wanted.source.name)]
    if source.is_random:
        told += ["--random-weights", "--seed", str(source.seed)]
        told += [f"--set {shlex.quote(setting)}" for setting in source.settings]
    # What comes with the weights need not be said.
    if made.example is None and made.prompt is not None:
        told.append(f"--prompt {shlex.quote(made.prompt)}")
    if made.ids is not None:
        told.append(f"--ids {shlex.quote(made.ids)}")
    if position is not None:
        told.append(f"--position {position}")
    return f"archcalc trace {' '.join(told)}"


def python(wanted: Wanted, made: Made, position: int | None) -> str:
    """The lines of Python that trace the same."""
    source = wanted.source
    if source.is_random:
        changed = changes(source.settings)
        spec = f"archcalc.load({source.name!r}" + (f", {changed!r})" if changed else ")")
        model = f"archcalc.random_model({spec}, seed={source.seed})"
    else:
        model = f"archcalc.load_model({source.name!r})"
    texts = ", ".join(map(repr, made.trace.ids.values()))
    place = "" if position is None else f", position={position}"
    return f"import archcalc\n\nmodel = {model}\nfound = archcalc.trace.run(model, {texts}{place})"
