"""The page of a workload: what it computes, what it keeps, and what training costs."""

from __future__ import annotations

from typing import Any, Final

import streamlit as st

from archcalc.dashboard import subject
from archcalc.dashboard.errors import told
from archcalc.dashboard.session import choice, plain, say
from archcalc.words import msg

_PHASE_NAMES: Final = {
    "prefill": msg("Prefill"),
    "decode": msg("Decode"),
    "train": msg("Training step"),
}

_TRAIN: Final = "train"


def page() -> None:
    """The phase, and what belongs to it."""
    say_, spec = say(), subject.chosen().spec
    st.markdown(f"**{plain(spec.label)}**")
    phase: Any = choice(st.segmented_control, say_(msg("Phase")), _PHASE_NAMES, key="compute_phase")
    with told():
        if phase == _TRAIN:
            from archcalc.dashboard.computing import training

            training.show()
        else:
            from archcalc.dashboard.computing import running

            running.show(phase)
