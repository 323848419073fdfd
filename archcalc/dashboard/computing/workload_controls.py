"""The controls of the page Compute and memory: workload, dtypes, view, rows of tables."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Final

import msgspec
import streamlit as st

from archcalc.analysis.context import Phase
from archcalc.analysis.inference_memory import InferenceMemory, inference_memory
from archcalc.dashboard import chooser
from archcalc.dashboard.computing import sizes
from archcalc.dashboard.session import IN_URL, choice, say
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

DEFAULT_DTYPE: Final = "bf16"
ROWS_OF_FLOPS, ROWS_OF_BYTES = "compute_flops_rows", "compute_rows"


class InferenceControls(msgspec.Struct, frozen=True, dict=True):
    """The values of the controls: a model, a workload, its sizes as options, dtypes of weights and cache."""

    spec: Spec
    ledger: Ledger
    phase: Phase
    work: Workload
    sizes: sizes.Sizes
    dtypes: tuple[str, str]

    @cached_property
    def memory(self) -> InferenceMemory:
        """Return the memory of inference, which the headline numbers and a view show."""
        return inference_memory(self.spec, self.ledger, self.work, *self.dtypes)

    @property
    def dtype_options(self) -> dict[str, str]:
        """Return the dtypes that differ from the default, as options of the command line."""
        dtypes = {"dtype": self.dtypes[0], "cache_dtype": self.dtypes[1]}
        return {name: dtype for name, dtype in dtypes.items() if dtype != DEFAULT_DTYPE}


def draw_controls(phase: Phase) -> InferenceControls:
    """Draw the controls of a prefill or a decode step and return their values."""
    spec, say_ = chooser.selection().spec, say()
    size_options = sizes.draw_sizes(spec, phase, "compute")
    left, right = st.columns(2)
    weights_dtype = left.selectbox(
        say_(msg("Weights stored as (dtype)")), _default_first(DEFAULT_DTYPE, FORMATS), key="compute_dtype", **IN_URL
    )
    cache_dtype = DEFAULT_DTYPE
    if spec.decoder:
        cache_dtype = right.selectbox(
            say_(msg("Cache stored as (dtype)")),
            _default_first(DEFAULT_DTYPE, CACHE_TYPES),
            key="compute_cache_dtype",
            **IN_URL,
        )
    return InferenceControls(
        spec, build(spec), phase, workload(spec, **size_options), size_options, (weights_dtype, cache_dtype)
    )


def _default_first(default: str, names: Iterable[str]) -> tuple[str, ...]:
    """Return all names, the default first."""
    return (default, *(name for name in names if name != default))


def choose_view(views: tuple[str, ...], key: str) -> str:
    """Draw the choice of a view and return it."""
    say_ = say()
    return choice(
        st.segmented_control,
        say_(msg("View")),
        {view: _VIEW_NAMES[view] for view in views},
        key=key,
        label_visibility="collapsed",
    )


def choose_rows(views: tuple[str, ...], key: str) -> str:
    """Draw the choice of what a row of the tables is. Tables with other rows need another key."""
    names = {view: _ROW_NAMES[view] for view in views}
    return choice(st.segmented_control, say()(msg("A row of the tables is")), names, key=key)
