"""A workload's sizes: each a number to type and a slider of powers of two, which are one state."""

from __future__ import annotations

from typing import Any, Final

import streamlit as st

from archcalc.analysis.context import longest_context
from archcalc.dashboard.session import KEPT, say
from archcalc.spec import Spec
from archcalc.spec.workload import workload
from archcalc.units import exact
from archcalc.words import msg

_SIZES: Final = {
    "batch": msg("Batch (sequences)"),
    "seq": msg("Context (new tokens, seq)"),
    "past": msg("Past (tokens in the cache)"),
    "source_seq": msg("Source (tokens, source_seq)"),
}

MOST: Final = 2**40
MOST_SEQUENCES: Final = 4096

Sizes = dict[str, int]


def size(label: str, key: str, *, default: int, least: int, most: int) -> int | None:
    """What is typed or slid; None where the visitor leaves it at its default. The slider ends at `most`."""
    typed = st.number_input(
        label, min_value=least, max_value=MOST, value=None, step=1, placeholder=exact(default), key=key, **KEPT
    )
    slider, now = f"{key}_slider", default if typed is None else int(typed)
    # The slider has no state of its own: it is put where the number is, and writes what it is moved to there.
    st.session_state[slider] = now
    st.select_slider(
        say()(msg("{size}, on a logarithmic scale", size=label)),
        marks(least, most, now),
        format_func=exact,
        key=slider,
        on_change=_follow,
        args=(key, slider),
        label_visibility="collapsed",
    )
    return None if typed is None else int(typed)


def _follow(key: str, slider: str) -> None:
    st.session_state[key] = st.session_state[slider]


def marks(least: int, most: int, now: int) -> list[int]:
    """Where the slider can stand: powers of two, both ends, and where it stands now.

    >>> marks(0, 10, 5)
    [0, 1, 2, 4, 5, 8, 10]
    """
    powers = (1 << n for n in range(most.bit_length()))
    return sorted({least, most, now, *(power for power in powers if least <= power <= most)})


def asked(spec: Spec, phase: str, prefix: str) -> Sizes:
    """Draw the sizes that a phase has; what the command line would be told of them.

    A decode step has one new token after a past; a training step no past.
    """
    say_ = say()
    usual = workload(spec).seq
    far = longest_context(spec)
    wanted: dict[str, tuple[int, int, int]] = {"batch": (1, 1, MOST_SEQUENCES)}
    if phase != "decode":
        wanted["seq"] = (usual, 1, far)
    if phase == "decode" or (phase == "prefill" and spec.decoder):
        wanted["past"] = (usual - 1 if phase == "decode" else 0, 0, far)
    if spec.family == "encoder-decoder":
        wanted["source_seq"] = (usual, 1, far)
    found: Sizes = {"seq": 1, "past": usual - 1} if phase == "decode" else {}
    for column, (name, (default, least, most)) in zip(st.columns(len(wanted)), wanted.items(), strict=True):
        with column:
            given = size(say_(_SIZES[name]), f"{prefix}_{name}", default=default, least=least, most=most)
        if given is not None:
            found[name] = given
    return found


def in_words(sizes: dict[str, Any]) -> str:
    """Options as a shell is told them: ' --batch 8 --source-seq 512'."""
    return "".join(f" --{name.replace('_', '-')} {value}" for name, value in sizes.items())


def in_python(sizes: dict[str, Any]) -> str:
    """The same as a call is told them: ', batch=8, source_seq=512'."""
    return "".join(f", {name}={value!r}" for name, value in sizes.items())
