"""Compare the readings of a spec; the only module that imports both the ledger and the PyTorch modules."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from archcalc.extras import require
from archcalc.formats.file_tensor import FileTensor
from archcalc.ledger.build import build as build_ledger
from archcalc.results import Row, count, data, number, text
from archcalc.sources import spec_of
from archcalc.spec import Spec
from archcalc.words import msg

Shapes = Mapping[str, tuple[int, ...]]
Reading = Literal["ledger", "module", "transformers", "files"]

READING_NAMES = {"ledger": msg("ledger"), "module": msg("module"), "files": msg("files")}
VERDICTS = {True: msg("equal"), False: msg("differs")}


class Difference(Row, frozen=True):
    """A tensor on which two readings disagree: its shape and kind in each, None if a reading lacks it."""

    path: Annotated[str, text(msg("tensor"))]
    left: Annotated[str | None, text(msg("in the first reading"))]
    right: Annotated[str | None, text(msg("in the second reading"))]


class Comparison(Row, frozen=True, kw_only=True):
    """The result of comparing two readings of a spec, which are equal if no tensor differs."""

    name: Annotated[str, text(msg("model"))]
    left: Annotated[Reading, text(msg("first reading"), names=READING_NAMES)]
    right: Annotated[Reading, text(msg("second reading"), names=READING_NAMES)]
    tensors: Annotated[int, count(msg("tensors"))]
    parameters: Annotated[int, count(msg("parameters"))]
    seconds: Annotated[float, number(msg("time"), "seconds")]
    is_equal: Annotated[bool, text(msg("result"), names=VERDICTS)]
    differences: Annotated[tuple[Difference, ...], data(msg("tensors that differ"))] = ()


Comparisons = list[Comparison]


def verify(spec: Any, *, against: str | None = None, files: Mapping[str, FileTensor] | None = None) -> Comparisons:
    """Compare the ledger with our PyTorch module on the meta device, and optionally with the model of transformers.

    `spec` is a Spec, or a source as for `archcalc.load`.

    Every stored tensor is compared by name, shape and kind. Returns a comparison for each pair of readings: `left` and
    `right`, `is_equal`, `differences` (path, left, right), `tensors` and `parameters` (how many), `seconds`.
    `against='transformers'` adds the second comparison, `files`, the tensors of a model's files by name, another: they
    are compared by name, shape and storage format. Raises MissingExtraError without torch or transformers,
    InputError if transformers lacks the architecture.
    """
    spec = spec_of(spec)
    comparisons = [_against_module(spec)]
    if against == "transformers":
        comparisons.append(_against_transformers(spec))
    if files is not None:
        comparisons.append(_against_files(spec, files))
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
    all_differences = [*differences(ours, theirs), *_total_difference(ledger.total(), n_parameters)]
    return _comparison(spec, "module", len(ours), n_parameters, start, all_differences)


def _against_transformers(spec: Spec) -> Comparison:
    require("transformers", does=msg("verifying against transformers"), extra="oracle")
    from archcalc.hf import tensor_map, to_config
    from archcalc.hf.reference import build_reference, reference_shapes

    start = time.perf_counter()
    ledger, config = build_ledger(spec), to_config(spec)
    ours = {tensor.name: tensor.shape for tensor in ledger.tensors() if tensor.kind != "buffer"}
    shapes, _ = reference_shapes(build_reference(config))
    expected = tensor_map(config).named_shapes(ours, shapes)
    n_parameters = sum(math.prod(shape) for shape in shapes.values())
    all_differences = [
        *differences(_as_text(expected), _as_text(shapes)),
        *_total_difference(ledger.total(), n_parameters),
    ]
    return _comparison(spec, "transformers", len(shapes), n_parameters, start, all_differences)


def _against_files(spec: Spec, files: Mapping[str, FileTensor]) -> Comparison:
    from archcalc.analysis.file_differences import file_differences

    start, ledger = time.perf_counter(), build_ledger(spec)
    found = [Difference(*each) for each in file_differences(spec, ledger, files)]
    return _comparison(spec, "files", len(files), ledger.total(), start, found)


def _comparison(
    spec: Spec, right: Reading, tensors: int, parameters: int, start: float, found: Sequence[Difference]
) -> Comparison:
    """Return the comparison with the ledger that began at `start`."""
    return Comparison(
        name=spec.name,
        left="ledger",
        right=right,
        tensors=tensors,
        parameters=parameters,
        seconds=time.perf_counter() - start,
        is_equal=not found,
        differences=tuple(found),
    )


def differences(ours: Mapping[str, str], theirs: Mapping[str, str]) -> list[Difference]:
    """Return a difference for each name that one side lacks or that has different values."""
    names = sorted(ours.keys() | theirs.keys())
    pairs = ((name, ours.get(name), theirs.get(name)) for name in names)
    return [Difference(name, left, right) for name, left, right in pairs if left != right]


def _total_difference(ours: int, theirs: int) -> list[Difference]:
    return [] if ours == theirs else [Difference("(total)", str(ours), str(theirs))]


def _as_text(shapes: Shapes) -> dict[str, str]:
    return {name: str(list(shape)) for name, shape in shapes.items()}
