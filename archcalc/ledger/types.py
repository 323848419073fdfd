"""What a ledger is made of. Only leaves are rows; every group of rows is a sum over them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

import msgspec

from archcalc.formats.element_types import element_bytes
from archcalc.ledger.algebra import Poly, product
from archcalc.ledger.leaves import Cache, Component, Elementwise, Kept, Kind, Matmul, State, Weight
from archcalc.ledger.tokens import BATCH, with_work
from archcalc.spec.workload import Workload


def _value(axes: Iterable[Poly], repeats: Poly, sizes: Mapping[str, Any]) -> Any:
    """The product of these axes' sizes: as their formula's value, without multiplying polynomials out."""
    return math.prod(axis.at(sizes) for axis in axes) * repeats.at(sizes)


class Row(msgspec.Struct, frozen=True, dict=True):
    """A weight with its sizes, over all the layers that have one like it.

    `path` is the canonical name; where the weight repeats, '{i}' stands for the index and `indices` holds them all.
    `repeats` is their number as a formula. `group` names the layers that have it, where not all have.
    """

    path: str
    weight: Weight
    group: str
    indices: tuple[int, ...]
    repeats: Poly
    sizes: Mapping[str, int]

    @property
    def component(self) -> Component:
        """The part of the model it is counted under."""
        return self.weight.component

    @property
    def kind(self) -> Kind:
        """Trainable, frozen (stored, counted, not trained) or buffer (stored, not counted)."""
        return self.weight.kind

    @property
    def counted(self) -> bool:
        """Whether the total has it: all parameters, no buffers."""
        return self.kind != "buffer"

    @property
    def is_bias(self) -> bool:
        """Whether it is added to what it meets, rather than multiplied with it."""
        return self.path.rpartition(".")[2] == "bias"

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """The sizes of one tensor's axes."""
        return tuple(int(axis.at(self.sizes)) for axis in self.weight.axes)

    @property
    def count(self) -> int:
        """Elements of one tensor."""
        return math.prod(self.shape)

    @property
    def layers(self) -> int:
        """How many such tensors there are."""
        return len(self.indices) if "{i}" in self.path else 1

    @cached_property
    def total(self) -> int:
        """Elements over all layers."""
        return self.count * self.layers

    @cached_property
    def active(self) -> int:
        """Elements over all layers that one token uses."""
        axes = self.weight.active_axes or self.weight.axes
        return self.layers * math.prod(int(axis.at(self.sizes)) for axis in axes)

    @property
    def formula(self) -> Poly:
        """`total` in symbols."""
        return product((*self.weight.axes, self.repeats))

    @property
    def active_formula(self) -> Poly:
        """`active` in symbols."""
        return product((*(self.weight.active_axes or self.weight.axes), self.repeats))

    def names(self) -> Iterator[str]:
        """The name of every tensor of this row."""
        if "{i}" not in self.path:
            yield self.path
            return
        for index in self.indices:
            yield self.path.replace("{i}", str(index))


class MatmulRow(msgspec.Struct, frozen=True):
    """A matrix product over all the layers that compute one like it.

    `path` is the module, '{i}' for the layer; `turns` are the layers, `repeats` their number as a formula.
    """

    path: str
    matmul: Matmul
    group: str
    turns: tuple[int, ...]
    repeats: Poly

    @property
    def component(self) -> Component:
        """The part of the model it is counted under."""
        return self.matmul.component

    @property
    def layers(self) -> int:
        """How many times a forward pass computes it."""
        return max(1, len(self.turns))

    @property
    def formula(self) -> Poly:
        """FLOPs of a forward pass: 2 for each multiply-accumulate."""
        return 2 * product((*self.matmul.axes, self.repeats))

    @property
    def causal_formula(self) -> Poly:
        """The same with only the pairs that are really attended."""
        return 2 * product((*(self.matmul.causal_axes or self.matmul.axes), self.repeats))

    def flops(self, sizes: Mapping[str, Any]) -> Any:
        """The value of `formula` for a table of sizes with a workload's."""
        return 2 * _value(self.matmul.axes, self.repeats, sizes)

    def causal_flops(self, sizes: Mapping[str, Any]) -> Any:
        """The value of `causal_formula`."""
        return 2 * _value(self.matmul.causal_axes or self.matmul.axes, self.repeats, sizes)


class CacheRow(msgspec.Struct, frozen=True):
    """A cached tensor over all the layers that keep one like it, for the whole batch."""

    path: str
    cache: Cache
    group: str
    turns: tuple[int, ...]
    repeats: Poly

    @property
    def formula(self) -> Poly:
        """Elements, of all layers and sequences."""
        return product((BATCH, *self.cache.axes, self.repeats))

    def elements(self, sizes: Mapping[str, Any]) -> Any:
        """The value of `formula`."""
        return _value((BATCH, *self.cache.axes), self.repeats, sizes)


class StateRow(msgspec.Struct, frozen=True):
    """A state of fixed size over all the layers that keep one like it, for the whole batch."""

    path: str
    state: State
    group: str
    turns: tuple[int, ...]
    repeats: Poly

    def bytes_formula(self, model_bytes: int) -> Poly:
        """Bytes, of all layers and sequences, where a number of the model takes `model_bytes`."""
        each = element_bytes(self.state.dtype) if self.state.dtype else model_bytes
        return each * product((BATCH, *self.state.axes, self.repeats))


class KeptRow(msgspec.Struct, frozen=True):
    """A tensor that autograd keeps, over all the layers that keep one like it, for the whole batch."""

    path: str
    kept: Kept
    group: str
    turns: tuple[int, ...]
    repeats: Poly

    @property
    def component(self) -> Component:
        """The part of the model that keeps it."""
        return self.kept.component

    @property
    def is_square(self) -> bool:
        """Whether it grows with the square of the sequence: it has a number for each query and key."""
        return sum(_counts_tokens(axis) for axis in self.kept.axes) > 1

    @property
    def formula(self) -> Poly:
        """Bytes, of all layers and sequences."""
        return element_bytes(self.kept.dtype) * product((*self.kept.axes, self.repeats))

    def bytes(self, sizes: Mapping[str, Any]) -> Any:
        """The value of `formula`."""
        return element_bytes(self.kept.dtype) * _value(self.kept.axes, self.repeats, sizes)


def _counts_tokens(axis: Poly) -> bool:
    return any(symbol.partition("(")[0] in ("seq", "keys", "source_seq", "source_new") for symbol in axis.symbols())


class ElementwiseRow(msgspec.Struct, frozen=True):
    """What is computed number by number, over all the layers that compute it."""

    path: str
    elementwise: Elementwise
    group: str
    turns: tuple[int, ...]
    repeats: Poly

    @property
    def component(self) -> Component:
        """The part of the model it is counted under."""
        return self.elementwise.component

    @property
    def formula(self) -> Poly:
        """Numbers, of all layers and sequences."""
        return product((*self.elementwise.axes, self.repeats))

    def numbers(self, sizes: Mapping[str, Any]) -> Any:
        """The value of `formula`."""
        return _value(self.elementwise.axes, self.repeats, sizes)


class Tensor(msgspec.Struct, frozen=True):
    """One real tensor of the model."""

    name: str
    shape: tuple[int, ...]
    kind: Kind


class Ledger(msgspec.Struct, frozen=True, dict=True):
    """Every weight, matmul, cache and state of a model as a row; of a training step, also what is kept
    and elementwise work.

    `tied` are names that share another row's storage: no part of any total, but what `untied` adds.
    `sizes` is the table of named dimensions that all formulas read.
    """

    rows: tuple[Row, ...]
    tied: tuple[Row, ...]
    matmuls: tuple[MatmulRow, ...]
    caches: tuple[CacheRow, ...]
    states: tuple[StateRow, ...]
    kept: tuple[KeptRow, ...]
    elementwise: tuple[ElementwiseRow, ...]
    sizes: Mapping[str, int]

    def at(self, work: Workload) -> dict[str, int]:
        """The table of sizes with those of a workload."""
        return with_work(self.sizes, work, self._symbols)

    @cached_property
    def _symbols(self) -> set[str]:
        """Every name that a workload's formulas have."""
        axes = {axis for cache in self.caches for axis in cache.cache.axes}
        axes.update(axis for row in self.states for axis in row.state.axes)
        axes.update(axis for kept in self.kept for axis in kept.kept.axes)
        axes.update(axis for row in self.elementwise for axis in row.elementwise.axes)
        for row in self.matmuls:
            axes.update(row.matmul.axes, row.matmul.causal_axes or ())
        return {symbol for axis in axes for symbol in axis.symbols()}

    @cached_property
    def counted(self) -> tuple[Row, ...]:
        """The rows that the total has."""
        return tuple(row for row in self.rows if row.counted)

    def total(self) -> int:
        """Parameters, each stored tensor once."""
        return sum(row.total for row in self.counted)

    def formula(self) -> Poly:
        """`total` in symbols: the model's closed form."""
        return Poly.sum(row.formula for row in self.counted)

    def tensors(self) -> Iterator[Tensor]:
        """Every stored tensor by name, buffers too."""
        for row in self.rows:
            for name in row.names():
                yield Tensor(name, row.shape, row.kind)
