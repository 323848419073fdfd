"""The page Compute and memory: FLOPs and memory of a workload or a training step."""

from __future__ import annotations

from typing import Any, Final

import streamlit as st

from archcalc.dashboard import chooser
from archcalc.dashboard.error_box import show_errors
from archcalc.dashboard.session import choice, escape_markdown, say
from archcalc.words import msg

_PHASE_NAMES: Final = {
    "prefill": msg("Prefill"),
    "decode": msg("Decode"),
    "train": msg("Training step"),
}

_TRAIN: Final = "train"


def page() -> None:
    """Draw the choice of a phase, then its controls and views."""
    say_, spec = say(), chooser.selection().spec
    st.markdown(f"**{escape_markdown(spec.label)}**")
    phase: Any = choice(st.segmented_control, say_(msg("Phase")), _PHASE_NAMES, key="compute_phase")
    with show_errors():
        if phase == _TRAIN:
            from archcalc.dashboard.computing import training

            training.show()
        else:
            from archcalc.dashboard.computing import inference

            inference.show(phase)
