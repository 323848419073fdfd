"""Worked examples from publications, compared with the values that the model computes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from archcalc import presets
from archcalc.spec.yaml_reader import parse
from archcalc.typed_data import convert

if TYPE_CHECKING:
    from archcalc.interp.trace.run import Trace

FILE = "published.yaml"


class PublishedStep(msgspec.Struct, frozen=True):
    """The published value of a step at the last position; where it is wrong, the reason in each language."""

    step: str
    published: list[int | float]
    en: str = ""
    zh: str = ""


class WorkedExample(msgspec.Struct, frozen=True):
    """A worked example: its prompt and its published steps."""

    prompt: str
    steps: list[PublishedStep]


@dataclass(frozen=True)
class StepCheck:
    """A published vector and the computed one; `is_equal` if they agree to the published digits."""

    reference: PublishedStep
    computed: list[float]
    is_equal: bool


def example_of(source: str) -> WorkedExample | None:
    """Return the worked example shipped with a preset's weights, or None."""
    folder = presets.weights_path(source)
    return example_in(folder) if folder else None


def example_in(folder: str) -> WorkedExample | None:
    """Return the worked example in a folder of weights, or None."""
    path = os.path.join(folder, FILE)
    if not os.path.isfile(path):
        return None
    with open(path, "rb") as file:
        return convert(parse(file.read()), WorkedExample)


def step_checks(example: WorkedExample, trace: Trace) -> list[StepCheck]:
    """Return a check of each published step; none unless the trace is at the last position, the only one published."""
    if trace.position < len(next(reversed(trace.ids.values()))) - 1:
        return []
    steps = {traced.step.name: traced for traced in trace.steps}
    return [
        _check(reference, steps[reference.step].at(trace.position).flatten().tolist()) for reference in example.steps
    ]


def _check(reference: PublishedStep, computed: list[float]) -> StepCheck:
    import torch

    tolerance = 0.5 * 10.0 ** -max(_decimals(x) for x in reference.published)
    is_equal = len(computed) == len(reference.published) and bool(
        (torch.tensor(computed) - torch.tensor(reference.published)).abs().max() < tolerance
    )
    return StepCheck(reference, computed, is_equal)


def _decimals(x: float) -> int:
    """Return the number of decimals that a number is written with."""
    return len(f"{x:.10f}".rstrip("0").rpartition(".")[2])
