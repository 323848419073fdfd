"""What the page of compute asks for: what runs, in which dtypes, and which view of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec
import streamlit as st

from archcalc.analysis.context import Phase
from archcalc.dashboard import subject
from archcalc.dashboard.computing import sizes
from archcalc.dashboard.session import KEPT, choice, say
from archcalc.formats.cache_types import CACHE_TYPES
from archcalc.formats.weight_formats import FORMATS
from archcalc.ledger.build import build
from archcalc.ledger.rows import Ledger
from archcalc.spec import Spec
from archcalc.spec.workload import Workload, workload
from archcalc.words import in_context, msg

_VIEW_NAMES: Final = {
    "flops": msg("FLOPs"),
    "context": msg("Cost against context"),
    "memory": msg("Weights and cache"),
    "growth": msg("Cache against context"),
    "ranks": in_context("view", "Ranks"),
    "training": msg("Training memory"),
    "conventions": msg("FLOPs conventions"),
}
_ROW_NAMES: Final = {
    "components": msg("Component"),
    "ops": msg("Op"),
    "layers": msg("Layer"),
    "tensors": msg("Tensor"),
}

USUAL: Final = "bf16"
ROWS_OF_FLOPS, ROWS_OF_BYTES = "compute_flops_rows", "compute_rows"


class Running(msgspec.Struct, frozen=True):
    """A model, a workload, how its weights and cache are stored; and what the command line is told of the workload."""

    spec: Spec
    ledger: Ledger
    phase: Phase
    work: Workload
    sizes: sizes.Sizes
    dtypes: tuple[str, str]

    @property
    def stored(self) -> dict[str, str]:
        """What the command line is told of the dtypes."""
        both = {"dtype": self.dtypes[0], "cache_dtype": self.dtypes[1]}
        return {name: dtype for name, dtype in both.items() if dtype != USUAL}


def ask(phase: Phase) -> Running:
    """Draw the controls of a prefill or a decode step, and what they say."""
    spec, say_ = subject.chosen().spec, say()
    given = sizes.asked(spec, phase, "compute")
    left, right = st.columns(2)
    stored = left.selectbox(say_(msg("Weights stored as (dtype)")), _first(USUAL, FORMATS), key="compute_dtype", **KEPT)
    cached = USUAL
    if spec.decoder:
        cached = right.selectbox(
            say_(msg("Cache stored as (dtype)")), _first(USUAL, CACHE_TYPES), key="compute_cache_dtype", **KEPT
        )
    return Running(spec, build(spec), phase, workload(spec, **given), given, (stored, cached))


def _first(usual: str, names: Iterable[str]) -> tuple[str, ...]:
    """All names, the usual one in front."""
    return (usual, *(name for name in names if name != usual))


def view_of(views: tuple[str, ...], key: str) -> str:
    """Which view is chosen."""
    say_ = say()
    return choice(
        st.segmented_control,
        say_(msg("View")),
        {view: _VIEW_NAMES[view] for view in views},
        key=key,
        label_visibility="collapsed",
    )


def rows(views: tuple[str, ...], key: str) -> str:
    """What a row of the tables is; tables that have other rows have another key."""
    names = {view: _ROW_NAMES[view] for view in views}
    return choice(st.segmented_control, say()(msg("A row of the tables is")), names, key=key)
