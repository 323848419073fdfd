"""The choice of a model that is looked into: trained weights, or random weights of any architecture."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from typing import Any, Final

import msgspec
import streamlit as st

from archcalc.dashboard import chooser
from archcalc.dashboard.models import runnable_models
from archcalc.dashboard.session import IN_URL, choice, say
from archcalc.spec.set_options import changes
from archcalc.words import msg

# Part of the URL.
_WEIGHTS: Final = {
    "weights": msg("Trained"),
    "random": msg("Random"),
}


class ModelChoice(msgspec.Struct, frozen=True):
    """A model: its source as on the command line, or, with random weights, the architecture as JSON."""

    name: str
    document: str = ""
    settings: tuple[str, ...] = ()
    seed: int = 0

    @property
    def is_random(self) -> bool:
        """Whether the weights are random."""
        return bool(self.document)

    @property
    def arguments(self) -> list[str]:
        """Return the arguments of the command line."""
        words = [shlex.quote(self.name)]
        if self.is_random:
            words += ["--random-weights", "--seed", str(self.seed)]
            words += [f"--set {shlex.quote(setting)}" for setting in self.settings]
        return words

    @property
    def python(self) -> str:
        """Return the Python expression of the model."""
        if not self.is_random:
            return f"archcalc.load_model({self.name!r})"
        options = changes(self.settings)
        spec = f"archcalc.load({self.name!r}" + (f", {options!r})" if options else ")")
        return f"archcalc.random_model({spec}, seed={self.seed})"


def choose(prefix: str, order: Callable[[str], Any]) -> ModelChoice:
    """Draw the widgets, whose keys begin with `prefix`, and return the model.

    Trained models are listed by `order` of their source; the first one is the default.
    """
    left, right = st.columns([2, 3])
    with left:
        weights = choice(st.segmented_control, say()(msg("Weights")), _WEIGHTS, key=f"{prefix}_from")
    if weights == "random":
        return _random(prefix)
    with right:
        return _trained(prefix, order)


def _trained(prefix: str, order: Callable[[str], Any]) -> ModelChoice:
    sources = runnable_models()
    names = sorted(sources, key=lambda name: order(sources[name]))
    return ModelChoice(sources[st.selectbox(say()(msg("Model")), names, key=f"{prefix}_model", **IN_URL)])


def _random(prefix: str) -> ModelChoice:
    """Draw the chooser of an architecture, which other pages have too, and the seed."""
    chooser.draw()
    model, label = chooser.selection(), say()(msg("Seed"))
    seed = st.number_input(label, min_value=0, max_value=2**31 - 1, value=0, key=f"{prefix}_seed", **IN_URL)
    return ModelChoice(model.source, json.dumps(model.base), model.settings, int(seed))
