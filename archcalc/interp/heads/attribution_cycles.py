"""The two states of layers that run in cycles, pulled back run by run.

Axes: D model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from archcalc.interp.heads.attribution_result import ContributionPart
from archcalc.interp.heads.linear_steps import FrozenNorm, LinearStep, Project, along, frozen
from archcalc.spec.cycles import is_high, layers_of_run
from archcalc.spec.groups import layers_of
from archcalc.spec.layer import Cycles, Layer
from archcalc.spec.model import ModelStack


class LayerReading(Protocol):
    """The recorded values of one position, and the contributions so far (archcalc.interp.heads.attribution_reading)."""

    model_stack: ModelStack
    module: Any

    def at(self, name: str) -> Tensor:
        """Return a state at the position."""

    def add(self, name: str, part: ContributionPart, value: float) -> None:
        """Add a contribution."""

    def through(self, name: str, step: FrozenNorm, direction: Tensor, layer: int | None) -> Tensor:
        """Return the direction before a norm, and add the contribution of its bias."""

    def layer(self, i: int, layer: Layer, direction: Tensor, later: list[LinearStep]) -> Tensor:
        """Return the direction before a layer, and add its contributions."""


@dataclass
class StatePath:
    """The way from a module's state to what the head reads: the direction [D] there, and the map as a step."""

    direction: Tensor | None = None
    steps: list[LinearStep] = field(default_factory=list)

    def joined_by(self, direction_D: Tensor, step: Project) -> StatePath:
        """Return the sum with another way from the same state."""
        if self.direction is None:
            return StatePath(direction_D, [step])
        (own,) = self.steps
        assert isinstance(own, Project), "the ways of a state are joined"
        return StatePath(self.direction + direction_D, [Project(own.weight + step.weight, None)])


def pull_back(
    reading: LayerReading, part: Cycles, direction_D: Tensor, later: list[LinearStep], progress: Callable[[int], object]
) -> Tensor:
    """Add the contributions of all runs and of the low module's first state; return the direction before them.

    A run reads the sum of both states, and its output replaces one. `later` are the steps after the last run.
    """
    stack = reading.model_stack.stack
    layers, n = layers_of(stack), layers_of_run(stack, part)
    paths = {True: StatePath(direction_D, list(later)), False: StatePath()}
    for run in reversed(range(part.n_runs)):
        own = paths[is_high(part, run)]
        assert own.direction is not None, "each state is read by a later run"
        read_D, steps = own.direction, list(own.steps)
        last = (run + 1) * n - 1
        if run < part.n_runs - 1 and reading.module.final_norm is not None:
            norm = frozen(reading.module.final_norm, reading.at(f"layers.{last}.resid_post"))
            read_D = reading.through(f"cycles.{run}", norm, read_D, last)
            steps.insert(0, norm)
        for i in reversed(range(run * n, last + 1)):
            read_D = reading.layer(i, layers[i], read_D, steps)
            progress(1)
        step = Project(along(steps, torch.eye(len(read_D), dtype=read_D.dtype, device=read_D.device)).T, None)
        other = paths[not is_high(part, run)]
        paths = {is_high(part, run): StatePath(read_D, [step]), not is_high(part, run): other.joined_by(read_D, step)}
    low_D = paths[False].direction
    assert low_D is not None, "the first run reads both states"
    reading.add("cycles.start", "embedding", float(low_D @ reading.module.cycles.start.double()))
    high_D = paths[True].direction
    assert high_D is not None, "the first run reads both states"
    return high_D
