"""A training step: which model is trained, on what, in which dtypes, by which optimizer and kernels."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
from msgspec import structs

from archcalc.analysis import activations, training
from archcalc.analysis.optimisers import Optimiser, named
from archcalc.analysis.peak import Moment, moments, peak
from archcalc.analysis.training import Kept, Precision, Recipe, Totals, kept, totals
from archcalc.ledger.build import build
from archcalc.ledger.rows import Ledger
from archcalc.spec import Spec
from archcalc.spec.execution import Device, Execution, Recompute
from archcalc.spec.workload import Workload


class TrainingSetup(msgspec.Struct, frozen=True):
    """What is trained, and how; `tracked` and `grown_bytes` are a measured peak, if there is one."""

    spec: Spec
    ledger: Ledger
    recipe: Recipe
    precision: Precision
    optimiser: Optimiser
    work: Workload
    how: Execution
    conventions: bool = False
    tracked: Moment | None = None
    grown_bytes: int | None = None

    def lines(self) -> list[Kept]:
        """Return what training keeps of each row."""
        return kept(self.ledger.rows, self.precision, self.optimiser)


def training_setup(
    spec: Spec,
    work: Workload,
    *,
    recipe: str | None = None,
    dtype: str | None = None,
    optimiser: str = "adamw",
    device: Device | None = None,
    conventions: bool = False,
    **way: Any,
) -> TrainingSetup:
    """Return the setup of choices by name; `way` is more of an Execution.

    A flash kernel is the CPU's unless `device` says otherwise. Raises InputError for an unknown name, or a recipe
    without weights in this dtype.
    """
    chosen = training.recipe(recipe, dtype)
    precision = chosen.precision(dtype)
    usual: Device = "cpu" if way.get("attention") == "flash" else "meta"
    how = Execution(dtype=precision.weights, device=device or usual, **way)  # type: ignore[arg-type]
    return TrainingSetup(spec, build(spec), chosen, precision, named(optimiser), work, how, conventions)


class StepMemory(msgspec.Struct, frozen=True):
    """Bytes of a training step: kept from step to step, saved activations, and the fullest moment."""

    totals: Totals
    saved_bytes: int
    peak: Moment


def by_recompute(setup: TrainingSetup) -> dict[Recompute, StepMemory]:
    """Return the memory of the step under each policy of recomputation."""
    lines = setup.lines()
    return {policy: _step_memory(setup, lines, policy) for policy in get_args(Recompute)}


def _step_memory(setup: TrainingSetup, lines: list[Kept], policy: Recompute) -> StepMemory:
    how = structs.replace(setup.how, recompute=policy)
    saved = activations.summary(build(setup.spec, how), setup.work)["total_bytes"]
    return StepMemory(totals(lines), saved, peak(moments(setup.spec, setup.work, how, lines)))
