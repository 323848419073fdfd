"""What texts print of a worked example, beside what the model really makes of it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from archcalc import presets
from archcalc.spec.yaml_reader import parse

if TYPE_CHECKING:
    from archcalc.interp.trace.run import Trace

FILE = "published.yaml"


class Printed(msgspec.Struct, frozen=True):
    """What is printed of a step at its last place, and why it is not so, in each language."""

    step: str
    published: list[float]
    en: str = ""
    zh: str = ""


class Example(msgspec.Struct, frozen=True):
    """A worked example: its prompt, and what is printed."""

    prompt: str
    steps: list[Printed]


@dataclass(frozen=True)
class Held:
    """A printed vector beside the computed one; `is_so` if that rounds to what is printed, to its own digits."""

    printed: Printed
    found: list[float]
    is_so: bool


def example_of(source: str) -> Example | None:
    """The worked example that comes with a preset's weights, if one does."""
    folder = presets.weights_path(source)
    return example_in(folder) if folder else None


def example_in(folder: str) -> Example | None:
    """The worked example that lies beside weights, if one does."""
    path = os.path.join(folder, FILE)
    if not os.path.isfile(path):
        return None
    with open(path, "rb") as file:
        return msgspec.convert(parse(file.read()), Example)


def held(example: Example, trace: Trace) -> list[Held]:
    """Each printed step beside the traced one, at the last place; of other places nothing is printed."""
    if trace.position < len(next(reversed(trace.ids.values()))) - 1:
        return []
    steps = {one.step.name: one for one in trace.steps}
    return [_held(one, steps[one.step].at(trace.position).flatten().tolist()) for one in example.steps]


def _held(printed: Printed, found: list[float]) -> Held:
    import torch

    half = 0.5 * 10.0 ** -max(_digits(x) for x in printed.published)
    near = len(found) == len(printed.published) and bool(
        (torch.tensor(found) - torch.tensor(printed.published)).abs().max() < half
    )
    return Held(printed, found, near)


def _digits(x: float) -> int:
    """How many digits after the point a number is printed with."""
    return len(f"{x:.10f}".rstrip("0").rpartition(".")[2])
