"""The sizes of a workload: each is a number input and a slider of powers of two with one state."""

from __future__ import annotations

from typing import Any, Final

import streamlit as st

from archcalc.analysis.context import longest_context
from archcalc.dashboard.session import IN_URL, say
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

MAX_SIZE: Final = 2**40
MAX_BATCH: Final = 4096

Sizes = dict[str, int]


def draw_size(label: str, key: str, *, default: int, min_value: int, slider_max: int) -> int | None:
    """Draw both widgets and return the size, None for the default."""
    typed = st.number_input(
        label,
        min_value=min_value,
        max_value=MAX_SIZE,
        value=None,
        step=1,
        placeholder=exact(default),
        key=key,
        **IN_URL,
    )
    slider_key, current = f"{key}_slider", default if typed is None else int(typed)
    # The number input has the state. The slider is set to it, and writes it when moved.
    st.session_state[slider_key] = current
    st.select_slider(
        say()(msg("{size}, on a logarithmic scale", size=label)),
        marks(min_value, slider_max, current),
        format_func=exact,
        key=slider_key,
        on_change=_copy_from_slider,
        args=(key, slider_key),
        label_visibility="collapsed",
    )
    return None if typed is None else int(typed)


def _copy_from_slider(key: str, slider_key: str) -> None:
    st.session_state[key] = st.session_state[slider_key]


def marks(min_value: int, max_value: int, current: int) -> list[int]:
    """Return the values of the slider: powers of two, both ends, and the current value.

    >>> marks(0, 10, 5)
    [0, 1, 2, 4, 5, 8, 10]
    """
    powers = (1 << n for n in range(max_value.bit_length()))
    return sorted({min_value, max_value, current, *(power for power in powers if min_value <= power <= max_value)})


def draw_sizes(spec: Spec, phase: str, prefix: str) -> Sizes:
    """Draw the sizes of a phase and return those that differ from their defaults.

    A decode step has one new token after a past. A training step has no past.
    """
    say_ = say()
    default_seq = workload(spec).seq
    longest = longest_context(spec)
    ranges: dict[str, tuple[int, int, int]] = {"batch": (1, 1, MAX_BATCH)}
    if phase != "decode":
        ranges["seq"] = (default_seq, 1, longest)
    if phase == "decode" or (phase == "prefill" and spec.decoder):
        ranges["past"] = (default_seq - 1 if phase == "decode" else 0, 0, longest)
    if spec.family == "encoder-decoder":
        ranges["source_seq"] = (default_seq, 1, longest)
    sizes: Sizes = {"seq": 1, "past": default_seq - 1} if phase == "decode" else {}
    for column, (name, (default, minimum, maximum)) in zip(st.columns(len(ranges)), ranges.items(), strict=True):
        with column:
            value = draw_size(
                say_(_SIZES[name]), f"{prefix}_{name}", default=default, min_value=minimum, slider_max=maximum
            )
        if value is not None:
            sizes[name] = value
    return sizes


def as_options(sizes: dict[str, Any]) -> str:
    """Return options of the command line: ' --batch 8 --source-seq 512'."""
    return "".join(f" --{name.replace('_', '-')} {value}" for name, value in sizes.items())


def as_arguments(sizes: dict[str, Any]) -> str:
    """Return keyword arguments of a Python call: ', batch=8, source_seq=512'."""
    return "".join(f", {name}={value!r}" for name, value in sizes.items())
