"""The readings of a spec held against each other: the only file that sees both the ledger and the modules."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping

import msgspec

from archcalc.extras import require
from archcalc.ledger.build import build as build_ledger
from archcalc.spec import Spec
from archcalc.words import msg

Shapes = Mapping[str, tuple[int, ...]]


class Difference(msgspec.Struct, frozen=True):
    """A tensor on which two readings disagree; None where a reading does not have it."""

    name: str
    ours: str | None
    theirs: str | None


class Comparison(msgspec.Struct, frozen=True):
    """What was compared with what, how much of it there was, and every difference."""

    left: str
    right: str
    n_tensors: int
    n_parameters: int
    seconds: float
    differences: tuple[Difference, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether the two readings are equal."""
        return not self.differences


def verify(spec: Spec, *, against: str | None = None) -> list[Comparison]:
    """Compare the ledger with our module on the meta device, and with `against='transformers'` with its model too.

    Every stored tensor is compared by name, shape and kind. Return a comparison for each: `holds`, `differences` (name,
    ours, theirs), `n_tensors`, `n_parameters`, `seconds`. Raises MissingExtraError where torch (or transformers) is
    not installed, InputError where transformers has no model of this architecture.
    """
    comparisons = [_against_module(spec)]
    if against == "transformers":
        comparisons.append(_against_transformers(spec))
    return comparisons


def _against_module(spec: Spec) -> Comparison:
    require("torch", does=msg("verifying against the PyTorch model"), extra="model")
    from archcalc.nn.build import build as build_module

    start = time.perf_counter()
    ledger = build_ledger(spec)
    module = build_module(spec, device="meta")
    ours = {tensor.name: f"{list(tensor.shape)} {tensor.kind}" for tensor in ledger.tensors()}
    theirs = {
        name: f"{list(parameter.shape)} {'trainable' if parameter.requires_grad else 'frozen'}"
        for name, parameter in module.named_parameters()
    }
    theirs |= {name: f"{list(buffer.shape)} buffer" for name, buffer in module.named_buffers()}
    n_parameters = sum(parameter.numel() for parameter in module.parameters())
    found = [*differences(ours, theirs), *_total(ledger.total(), n_parameters)]
    return Comparison("ledger", "module", len(ours), n_parameters, time.perf_counter() - start, tuple(found))


def _against_transformers(spec: Spec) -> Comparison:
    require("transformers", does=msg("verifying against transformers"), extra="oracle")
    from archcalc.hf import tensor_map, to_config
    from archcalc.hf.reference import build_reference, reference_shapes

    start = time.perf_counter()
    ledger, config = build_ledger(spec), to_config(spec)
    ours = {tensor.name: tensor.shape for tensor in ledger.tensors() if tensor.kind != "buffer"}
    shapes, _ = reference_shapes(build_reference(config))
    expected = tensor_map(config).shapes(ours)
    n_parameters = sum(math.prod(shape) for shape in shapes.values())
    found = [*differences(_text(expected), _text(shapes)), *_total(ledger.total(), n_parameters)]
    seconds = time.perf_counter() - start
    return Comparison("ledger", "transformers", len(shapes), n_parameters, seconds, tuple(found))


def differences(ours: Mapping[str, str], theirs: Mapping[str, str]) -> list[Difference]:
    """Every name that only one side has, or of which the two say different things."""
    names = sorted(ours.keys() | theirs.keys())
    pairs = ((name, ours.get(name), theirs.get(name)) for name in names)
    return [Difference(name, left, right) for name, left, right in pairs if left != right]


def _total(ours: int, theirs: int) -> list[Difference]:
    return [] if ours == theirs else [Difference("(total)", str(ours), str(theirs))]


def _text(shapes: Shapes) -> dict[str, str]:
    return {name: str(list(shape)) for name, shape in shapes.items()}
