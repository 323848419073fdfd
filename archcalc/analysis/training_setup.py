"""A training step: which model is trained, on what, in which dtypes, by which optimizer and kernels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

import msgspec
from msgspec import structs

from archcalc.analysis.activations import total_bytes
from archcalc.analysis.optimizers import Optimizer, find_optimizer
from archcalc.analysis.peak import Category, Moment, moments, peak
from archcalc.analysis.training import (
    PersistentBytes,
    PersistentTensor,
    Precision,
    Recipe,
    find_recipe,
    persistent_bytes,
    persistent_tensors,
)
from archcalc.ledger.build import build
from archcalc.ledger.rows import Ledger
from archcalc.spec import Spec
from archcalc.spec.execution import Device, Execution, Recompute
from archcalc.spec.workload import Workload


class TrainingSetup(msgspec.Struct, frozen=True):
    """A model, a workload and the choices of its training; `tracked` and `process_bytes` are a measured peak."""

    spec: Spec
    ledger: Ledger
    recipe: Recipe
    precision: Precision
    optimizer: Optimizer
    work: Workload
    execution: Execution
    has_conventions: bool = False
    tracked: Mapping[Category, int] | None = None
    process_bytes: int | None = None

    def tensors(self) -> list[PersistentTensor]:
        """Return the persistent bytes of each row."""
        return persistent_tensors(self.ledger.rows, self.precision, self.optimizer)


def training_setup(
    spec: Spec,
    work: Workload,
    *,
    recipe: str | None = None,
    dtype: str | None = None,
    optimizer: str = "adamw",
    device: Device | None = None,
    conventions: bool = False,
    **execution: Any,
) -> TrainingSetup:
    """Return the setup of choices by name; `execution` has more fields of an Execution.

    The default device is the CPU for a flash kernel, else meta. Raise InputError for an unknown name, or a recipe
    without weights in this dtype.
    """
    chosen = find_recipe(recipe, dtype)
    precision = chosen.precision(dtype)
    default: Device = "cpu" if execution.get("attention") == "flash" else "meta"
    how = Execution(dtype=precision.weights, device=device or default, **execution)  # type: ignore[arg-type]
    return TrainingSetup(spec, build(spec), chosen, precision, find_optimizer(optimizer), work, how, conventions)


class StepMemory(msgspec.Struct, frozen=True):
    """Bytes of a training step: persistent ones, saved activations, and the peak."""

    persistent: PersistentBytes
    activations_bytes: int
    peak: Moment


def by_recompute(setup: TrainingSetup) -> dict[Recompute, StepMemory]:
    """Return the memory of the step under each recompute policy."""
    tensors = setup.tensors()
    return {policy: _step_memory(setup, tensors, policy) for policy in get_args(Recompute)}


def _step_memory(setup: TrainingSetup, tensors: Sequence[PersistentTensor], policy: Recompute) -> StepMemory:
    execution = structs.replace(setup.execution, recompute=policy)
    activations_bytes = total_bytes(build(setup.spec, execution), setup.work)
    top = peak(moments(setup.spec, setup.work, execution, tensors))
    return StepMemory(persistent_bytes(tensors), activations_bytes, top)
