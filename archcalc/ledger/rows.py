"""The rows of a ledger. Only leaves are rows; every group of rows is a sum over them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

import msgspec

from archcalc.formats.element_types import element_bytes
from archcalc.ledger.algebra import Poly, product
from archcalc.ledger.leaves import CachedTensor, Component, Elementwise, Kind, Matmul, SavedActivation, State, Weight
from archcalc.ledger.tokens import BATCH, symbol_parts, workload_sizes
from archcalc.spec.workload import Workload


def _axes_product(axes: Iterable[Poly], repeats: Poly, sizes: Mapping[str, Any]) -> Any:
    """Return the product of the sizes of these axes: the value of their formula, without expanding it."""
    return math.prod(axis.at(sizes) for axis in axes) * repeats.at(sizes)


class WeightRow(msgspec.Struct, frozen=True, dict=True):
    """A weight with its sizes, over all layers that have it.

    `path` is the canonical name; '{i}' stands for the layer, and `indices` are all of these layers. `repeats` is their
    number as a formula. `group` names the layers that have it, if not all have.
    """

    path: str
    weight: Weight
    group: str
    indices: tuple[int, ...]
    repeats: Poly
    sizes: Mapping[str, int]

    @property
    def component(self) -> Component:
        """Return the component of the model that it counts under."""
        return self.weight.component

    @property
    def kind(self) -> Kind:
        """Return trainable, frozen (stored, counted, not trained) or buffer (stored, not counted)."""
        return self.weight.kind

    @property
    def is_counted(self) -> bool:
        """Return whether the total counts it: all parameters, no buffers."""
        return self.kind != "buffer"

    @property
    def is_bias(self) -> bool:
        """Return whether it is added rather than multiplied."""
        return self.path.rpartition(".")[2] == "bias"

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Return the sizes of one tensor's axes."""
        return tuple(int(axis.at(self.sizes)) for axis in self.weight.axes)

    @property
    def count(self) -> int:
        """Return the elements of one tensor."""
        return math.prod(self.shape)

    @property
    def layers(self) -> int:
        """Return the number of such tensors."""
        return len(self.indices) if "{i}" in self.path else 1

    @cached_property
    def total(self) -> int:
        """Return the elements over all layers."""
        return self.count * self.layers

    @cached_property
    def active(self) -> int:
        """Return the elements over all layers that one token uses."""
        axes = self.weight.active_axes or self.weight.axes
        return self.layers * math.prod(int(axis.at(self.sizes)) for axis in axes)

    @property
    def formula(self) -> Poly:
        """Return `total` in symbols."""
        return product((*self.weight.axes, self.repeats))

    @property
    def active_formula(self) -> Poly:
        """Return `active` in symbols."""
        return product((*(self.weight.active_axes or self.weight.axes), self.repeats))

    def names(self) -> Iterator[str]:
        """Yield the name of every tensor of this row."""
        if "{i}" not in self.path:
            yield self.path
            return
        for index in self.indices:
            yield self.path.replace("{i}", str(index))


class MatmulRow(msgspec.Struct, frozen=True):
    """A matrix product over all layers that compute it.

    `path` is the module, with '{i}' for the layer; `repeats` is the number of `layer_indices` as a formula.
    """

    path: str
    matmul: Matmul
    group: str
    layer_indices: tuple[int, ...]
    repeats: Poly

    @property
    def component(self) -> Component:
        """Return the component of the model that it counts under."""
        return self.matmul.component

    @property
    def layers(self) -> int:
        """Return how many times a forward pass computes it."""
        return max(1, len(self.layer_indices))

    @property
    def formula(self) -> Poly:
        """Return the FLOPs of a forward pass: 2 for each multiply-accumulate."""
        return 2 * product((*self.matmul.axes, self.repeats))

    @property
    def causal_formula(self) -> Poly:
        """Return `formula` for the attended (query, key) pairs only."""
        return 2 * product((*(self.matmul.causal_axes or self.matmul.axes), self.repeats))

    @property
    def backward_factor(self) -> int:
        """Return the products of a backward pass for each of the forward pass: two, or none without gradients."""
        return 2 if self.matmul.has_backward else 0

    def flops(self, sizes: Mapping[str, Any]) -> Any:
        """Return the value of `formula` for a table of sizes that includes a workload's."""
        return 2 * _axes_product(self.matmul.axes, self.repeats, sizes)

    def causal_flops(self, sizes: Mapping[str, Any]) -> Any:
        """Return the value of `causal_formula`."""
        return 2 * _axes_product(self.matmul.causal_axes or self.matmul.axes, self.repeats, sizes)


class CacheRow(msgspec.Struct, frozen=True):
    """A cached tensor over all layers that have it, for the whole batch."""

    path: str
    cache: CachedTensor
    group: str
    layer_indices: tuple[int, ...]
    repeats: Poly

    @property
    def formula(self) -> Poly:
        """Return the elements of all layers and sequences."""
        return product((BATCH, *self.cache.axes, self.repeats))

    def elements(self, sizes: Mapping[str, Any]) -> Any:
        """Return the value of `formula`."""
        return _axes_product((BATCH, *self.cache.axes), self.repeats, sizes)


class StateRow(msgspec.Struct, frozen=True):
    """A recurrent state over all layers that have it, for the whole batch."""

    path: str
    state: State
    group: str
    layer_indices: tuple[int, ...]
    repeats: Poly

    def bytes_formula(self, model_bytes: int) -> Poly:
        """Return the bytes of all layers and sequences, if an element of the model takes `model_bytes`."""
        each = element_bytes(self.state.dtype) if self.state.dtype else model_bytes
        return each * product((BATCH, *self.state.axes, self.repeats))


class SavedActivationRow(msgspec.Struct, frozen=True):
    """A saved activation over all layers that have it, for the whole batch."""

    path: str
    activation: SavedActivation
    group: str
    layer_indices: tuple[int, ...]
    repeats: Poly

    @property
    def component(self) -> Component:
        """Return the component of the model that saves it."""
        return self.activation.component

    @property
    def is_square(self) -> bool:
        """Return whether it grows with the square of the sequence: it has an element for each query and key."""
        return sum(_counts_tokens(axis) for axis in self.activation.axes) > 1

    @property
    def formula(self) -> Poly:
        """Return the bytes of all layers and sequences."""
        return element_bytes(self.activation.dtype) * product((*self.activation.axes, self.repeats))

    def bytes(self, sizes: Mapping[str, Any]) -> Any:
        """Return the value of `formula`."""
        return element_bytes(self.activation.dtype) * _axes_product(self.activation.axes, self.repeats, sizes)


def _counts_tokens(axis: Poly) -> bool:
    return any(symbol_parts(symbol)[0] in ("seq", "keys", "source_seq", "source_new") for symbol in axis.symbols())


class ElementwiseRow(msgspec.Struct, frozen=True):
    """An elementwise operation over all layers that compute it."""

    path: str
    elementwise: Elementwise
    group: str
    layer_indices: tuple[int, ...]
    repeats: Poly

    @property
    def component(self) -> Component:
        """Return the component of the model that it counts under."""
        return self.elementwise.component

    @property
    def formula(self) -> Poly:
        """Return the elements of all layers and sequences."""
        return product((*self.elementwise.axes, self.repeats))

    def numbers(self, sizes: Mapping[str, Any]) -> Any:
        """Return the value of `formula`."""
        return _axes_product(self.elementwise.axes, self.repeats, sizes)


class StoredTensor(msgspec.Struct, frozen=True):
    """A stored tensor of the model, with its full name."""

    name: str
    shape: tuple[int, ...]
    kind: Kind


class Ledger(msgspec.Struct, frozen=True, dict=True):
    """Every weight, matmul, cache and state of a model as a row.

    Of a training step, also saved activations and elementwise operations. `tied` are names that share another row's
    storage: no total counts them, except `untied`. `sizes` is the table of named dimensions that all formulas read.
    """

    rows: tuple[WeightRow, ...]
    tied: tuple[WeightRow, ...]
    matmuls: tuple[MatmulRow, ...]
    caches: tuple[CacheRow, ...]
    states: tuple[StateRow, ...]
    saved_activations: tuple[SavedActivationRow, ...]
    elementwise: tuple[ElementwiseRow, ...]
    sizes: Mapping[str, int]

    def at(self, work: Workload) -> dict[str, int]:
        """Return the table of sizes with those of a workload."""
        return workload_sizes(self.sizes, work, self._symbols)

    @cached_property
    def _symbols(self) -> set[str]:
        """Return every symbol in formulas that depend on a workload."""
        axes = {axis for cache in self.caches for axis in cache.cache.axes}
        axes.update(axis for row in self.states for axis in row.state.axes)
        axes.update(axis for row in self.saved_activations for axis in row.activation.axes)
        axes.update(axis for row in self.elementwise for axis in row.elementwise.axes)
        for row in self.matmuls:
            axes.update(row.matmul.axes, row.matmul.causal_axes or ())
        return {symbol for axis in axes for symbol in axis.symbols()}

    @cached_property
    def counted_rows(self) -> tuple[WeightRow, ...]:
        """Return the rows that the total counts."""
        return tuple(row for row in self.rows if row.is_counted)

    def total(self) -> int:
        """Return the number of parameters, each stored tensor once."""
        return sum(row.total for row in self.counted_rows)

    def formula(self) -> Poly:
        """Return `total` in symbols: the model's closed form."""
        return Poly.sum(row.formula for row in self.counted_rows)

    def tensors(self) -> Iterator[StoredTensor]:
        """Yield every stored tensor by name, including buffers."""
        for row in self.rows:
            for name in row.names():
                yield StoredTensor(name, row.shape, row.kind)
