"""The peak of a training step's memory: a model, from the ledger's exact rows.

A step in the steady state (optimizer states exist, gradients are set to None between steps) may be at its peak at five
moments; the largest is taken. An allocator's rounding, fragmentation and a kernel's workspace are not modeled.
`archcalc.run.train.step_memory` measures what PyTorch allocates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from heapq import nlargest
from math import prod
from typing import Annotated, Literal, get_args

import msgspec

from archcalc.analysis.activations import ActivationBytes, activation_bytes
from archcalc.analysis.params import TOKEN_TABLE
from archcalc.analysis.training import PersistentTensor
from archcalc.formats.element_types import element_bytes
from archcalc.ledger.build import build
from archcalc.results import Result, Row, Sureness, count, data, number, text
from archcalc.spec import Spec
from archcalc.spec.execution import Execution
from archcalc.spec.sites import sites
from archcalc.spec.workload import Workload
from archcalc.words import Message, in_context, msg

# What PyTorch's memory tracker tells apart. weights: with a master copy and buffers. activations: saved ones, the
# logits and their logarithms. temporary: what an operation of that moment allocates.
Category = Literal["weights", "gradients", "optimizer", "activations", "temporary"]
CATEGORIES: tuple[Category, ...] = get_args(Category)
CATEGORY_NAMES: dict[Category, Message] = {
    "weights": msg("weights"),
    "gradients": msg("gradients"),
    "optimizer": msg("optimizer"),
    "activations": msg("activations"),
    "temporary": msg("temporary"),
}

MomentName = Literal["loss", "last layer", "first layer", "embedding", "optimizer"]
MOMENT_NAMES: dict[MomentName, Message] = {
    "loss": msg("the loss's gradient"),
    "last layer": msg("the last layer's backward"),
    "first layer": msg("the first layer's backward"),
    "embedding": msg("the embedding's backward"),
    "optimizer": msg("the optimizer's step"),
}


class Moment(Row, frozen=True, kw_only=True):
    """Bytes at one moment of a step, by category."""

    moment: Annotated[MomentName, text(msg("moment"), names=MOMENT_NAMES)]
    weights_bytes: Annotated[int, count(CATEGORY_NAMES["weights"])]
    gradients_bytes: Annotated[int, count(CATEGORY_NAMES["gradients"])]
    optimizer_bytes: Annotated[int, count(CATEGORY_NAMES["optimizer"])]
    activations_bytes: Annotated[int, count(CATEGORY_NAMES["activations"])]
    temporary_bytes: Annotated[int, count(CATEGORY_NAMES["temporary"])]
    bytes: Annotated[int, count(msg("bytes"), rounded="bytes")]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))] = "modeled"

    def of(self, category: Category) -> int:
        """Return the bytes of one category."""
        return int(getattr(self, f"{category}_bytes"))


class PeakCategory(Row, frozen=True, kw_only=True):
    """Bytes of one category at the peak: modeled, and as PyTorch's memory tracker measures them."""

    category: Annotated[Category, text(msg("category"), names=CATEGORY_NAMES)]
    modeled_bytes: Annotated[int, count(msg("modeled"))]
    measured_bytes: Annotated[int, count(msg("measured"))]
    difference_bytes: Annotated[int, number(msg("modeled − measured"), "signed", is_summed=True)]
    relative_difference: Annotated[float | None, number(in_context("difference", "off"), "change")]


class StepPeak(Result, frozen=True, kw_only=True):
    """The peak of a step; `measured_bytes` and `categories` are those of a real step, if one was measured.

    `measure` is 'fake' for PyTorch's memory tracker on fake tensors, 'process' for the growth of a process.
    """

    bytes: Annotated[int, data(msg("bytes at the peak"))]
    moment: Annotated[MomentName, data(msg("moment of the peak"))]
    moments: Annotated[tuple[Moment, ...], data(msg("moments that may be the peak"))]
    measure: Annotated[Literal["fake", "process"] | None, data(msg("how a real step was measured"))]
    measured_bytes: Annotated[int | None, data(msg("measured bytes at the peak"))]
    relative_difference: Annotated[float | None, data(msg("modeled beside measured bytes, relative difference"))]
    categories: Annotated[tuple[PeakCategory, ...], data(msg("categories of the peak, modeled and measured"))]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))] = "modeled"


def step_peak(
    moments: Sequence[Moment], tracked: Mapping[Category, int] | None = None, process_bytes: int | None = None
) -> StepPeak:
    """Return the peak of a step's moments beside what was measured: by PyTorch's tracker, or of a process."""
    top = peak(moments)
    measured = sum(tracked.values()) if tracked else process_bytes
    return StepPeak(
        bytes=top.bytes,
        moment=top.moment,
        moments=tuple(moments),
        measure="fake" if tracked else "process" if process_bytes else None,
        measured_bytes=measured,
        relative_difference=top.bytes / measured - 1 if measured else None,
        categories=tuple(_category(category, top.of(category), size) for category, size in (tracked or {}).items()),
    )


def _category(category: Category, modeled: int, measured: int) -> PeakCategory:
    return PeakCategory(
        category=category,
        modeled_bytes=modeled,
        measured_bytes=measured,
        difference_bytes=modeled - measured,
        relative_difference=modeled / measured - 1 if measured else None,
    )


def moments(spec: Spec, work: Workload, execution: Execution, tensors: Sequence[PersistentTensor]) -> list[Moment]:
    """Return the moments of a step that may be its peak, in their order."""
    return _Step(spec, work, execution, tensors).moments()


def peak(moments: Sequence[Moment]) -> Moment:
    """Return the moment with the most bytes."""
    return max(moments, key=lambda moment: moment.bytes)


class _Step:
    """The sizes of a step that its moments are sums of, in bytes."""

    def __init__(self, spec: Spec, work: Workload, execution: Execution, tensors: Sequence[PersistentTensor]) -> None:
        self.element = element_bytes(execution.dtype)
        self.weights = sum(tensor.weights_bytes + tensor.master_bytes for tensor in tensors)
        self.gradients = sum(tensor.gradients_bytes for tensor in tensors)
        self.states = sum(tensor.optimizer_bytes + tensor.states.steps for tensor in tensors)
        self.update = _update_bytes(tensors, is_multi_tensor=execution.device == "cuda")
        self.table = sum(tensor.gradients_bytes for tensor in tensors if tensor.row.path == TOKEN_TABLE)
        self.first_layer = sum(
            tensor.gradients_bytes // tensor.row.layers for tensor in tensors if 0 in tensor.row.indices
        )
        self.is_tied = spec.head is not None and spec.head.tied
        self.n_logits = prod(sites(spec)[-1].shape(work) or ()) if spec.head else 0
        # Logits of padding rows are cut, yet stay in memory.
        self.n_output = self.n_logits * spec.vocab_size // spec.n_scored if spec.predicts_tokens else self.n_logits
        saved = activation_bytes(build(spec, execution), work)
        self.saved = sum(one.bytes for one in saved)
        self.recomputed, self.layer_gradients = _layer_sizes(spec, work, execution, saved)

    def moments(self) -> list[Moment]:
        return [self._loss(), self._last_layer(), self._first_layer(), self._embedding(), self._optimizer()]

    def _moment(self, name: MomentName, gradients: int, activations: int, temporary: int) -> Moment:
        return Moment(
            moment=name,
            weights_bytes=self.weights,
            gradients_bytes=gradients,
            optimizer_bytes=self.states,
            activations_bytes=activations,
            temporary_bytes=temporary,
            bytes=self.weights + gradients + self.states + activations + temporary,
        )

    @property
    def logits(self) -> int:
        """Return the bytes of the model's output, which the training loop refers to until the next step."""
        return self.element * self.n_output

    @property
    def head(self) -> int:
        """Return the bytes of the gradient of a tied head."""
        return self.table if self.is_tied else 0

    def _loss(self) -> Moment:
        """Return the moment of the gradients of the loss at its logarithms and at the logits, both in float32."""
        return self._moment("loss", 0, self.saved + self.logits + 4 * self.n_logits, 8 * self.n_logits)

    def _last_layer(self) -> Moment:
        """Return the moment with the activations of all layers, those of the last layer recomputed if necessary."""
        temporary = self.recomputed + self.layer_gradients + self.head
        return self._moment("last layer", 0, self.saved + self.logits, temporary)

    def _first_layer(self) -> Moment:
        """Return the moment with all gradients but those of the table and the first layer, and its activations."""
        gradients = self.gradients - self.table - self.first_layer
        temporary = self.recomputed + self.layer_gradients + self.head
        return self._moment("first layer", gradients, self.logits, temporary)

    def _embedding(self) -> Moment:
        """Return the moment of the table's gradient; that of a tied head is added to it, which makes a third."""
        temporary = 3 * self.table if self.is_tied else self.table
        return self._moment("embedding", self.gradients - self.table, self.logits, temporary)

    def _optimizer(self) -> Moment:
        """Return the moment with all gradients, and what the update allocates."""
        return self._moment("optimizer", self.gradients, self.logits, self.update)


def _update_bytes(tensors: Sequence[PersistentTensor], *, is_multi_tensor: bool) -> int:
    """Return what torch's AdamW allocates in a step: on a GPU, which updates all tensors at once, a copy of each.

    Elsewhere it updates one after another: two copies of the current tensor, and one of the tensor before.
    """
    trained = [tensor for tensor in tensors if tensor.row.kind == "trainable"]
    updated = [(tensor.master_bytes or tensor.weights_bytes, tensor.row.layers) for tensor in trained]
    if is_multi_tensor:
        return sum(size for size, _ in updated)
    largest, *second = nlargest(2, (size // layers for size, layers in updated for _ in range(layers)))
    return 2 * largest + sum(second)


def _layer_sizes(spec: Spec, work: Workload, execution: Execution, saved: Sequence[ActivationBytes]) -> tuple[int, int]:
    """Return the most bytes that a layer recomputes, and the most bytes of gradients in a layer's backward pass."""
    without = activation_bytes(build(spec, msgspec.structs.replace(execution, recompute="none")), work)
    layers, saved_layers = _by_layer(without), _by_layer(saved)
    recomputed = max((layers[layer] - saved_layers.get(layer, 0) for layer in layers), default=0)
    gradients = max((_gradient_bytes(one, execution) for one in without if one.row.layer_indices), default=0)
    return max(recomputed, 0), gradients


def _gradient_bytes(one: ActivationBytes, execution: Execution) -> int:
    """Return the bytes of gradients beside a saved tensor: one as large; of a pattern, that of the scores too.

    Where the pattern is also saved in 16 bits, that copy is freed before the second gradient is allocated.
    """
    if not one.row.is_square:
        return one.layer_bytes
    freed = one.layer_bytes // 2 if execution.attention == "eager" and execution.dtype != "fp32" else 0
    return 2 * one.layer_bytes - freed


def _by_layer(saved: Sequence[ActivationBytes]) -> dict[tuple[str, int], int]:
    """Return the bytes of each layer, by its stack and its index."""
    sizes: dict[tuple[str, int], int] = {}
    for one in saved:
        for index in one.row.layer_indices:
            layer = one.row.path.partition("{i}")[0], index
            sizes[layer] = sizes.get(layer, 0) + one.layer_bytes
    return sizes
