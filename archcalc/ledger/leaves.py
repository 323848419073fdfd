"""The leaves of a ledger, as the functions of the parts yield them: weights, matmuls, caches, saved activations.

A part's function is its forward pass in names: it takes the tensor that the part reads, yields its leaves in the order
in which they come about, and returns the tensor that it makes.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Literal, TypeVar

import msgspec
from msgspec import structs

from archcalc.formats.element_types import ElementName
from archcalc.ledger.algebra import Poly
from archcalc.ledger.tensors import Tensor
from archcalc.spec.activation import ActivationName

Component = Literal["embedding", "position", "attention", "ffn", "mixer", "norm", "head", "other"]
COMPONENTS: tuple[Component, ...] = ("embedding", "position", "attention", "ffn", "mixer", "norm", "head", "other")

Kind = Literal["trainable", "frozen", "buffer"]

# How often a backward pass computes a product again: never; always; only where the checkpoint runs to its end.
Again = Literal["never", "always", "without early stop"]

# What is computed number by number: an activation by its name.
Operation = Literal[
    "softmax", "layernorm", "rmsnorm", "rope", "gate", "clamped_gate", "softcap", "product", "clamp", "softplus"
]
Pointwise = Operation | ActivationName


class Weight(msgspec.Struct, frozen=True):
    """One stored tensor of a part: its name within the part, its axes (outermost first), what it belongs to.

    `active_axes` are the axes of what one token uses, where that is less than the whole: a mixture's experts.
    """

    name: str
    axes: tuple[Poly, ...]
    component: Component
    kind: Kind = "trainable"
    active_axes: tuple[Poly, ...] | None = None


class Matmul(msgspec.Struct, frozen=True):
    """A matrix product: every axis it runs over, whose product is its multiply-accumulates.

    `causal_axes` are the axes where only the (query, key) pairs that are really attended count. `name` is the module
    that computes it; the two products of attention have names of their own.
    """

    name: str
    axes: tuple[Poly, ...]
    component: Component
    causal_axes: tuple[Poly, ...] | None = None
    again: Again = "never"


class Elementwise(msgspec.Struct, frozen=True):
    """What is computed number by number, over every number of `axes`; its cost is a model."""

    name: str
    axes: tuple[Poly, ...]
    component: Component
    operation: Pointwise


class Cache(msgspec.Struct, frozen=True):
    """A tensor that a layer keeps between steps, a sequence: `axes` without the batch."""

    name: str
    axes: tuple[Poly, ...]


class State(msgspec.Struct, frozen=True):
    """A tensor of fixed size that a layer keeps between steps, a sequence: `axes` without the batch, none of tokens.

    `dtype` is what it is kept in whatever the model is in; None is the model's own.
    """

    name: str
    axes: tuple[Poly, ...]
    dtype: ElementName | None = None


class Saved(msgspec.Struct, frozen=True):
    """A tensor that an operation (`name`) keeps for its backward pass. Many may keep the same one."""

    name: str
    tensor: Tensor
    component: Component


class Kept(msgspec.Struct, frozen=True):
    """A tensor that is kept, under the name of the first operation that keeps it."""

    name: str
    label: str
    axes: tuple[Poly, ...]
    dtype: ElementName
    component: Component


Leaf = Weight | Matmul | Elementwise | Cache | State | Saved
Entry = Weight | Matmul | Elementwise | Cache | State | Kept
T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")

# What a part's function is: it yields leaves, and returns what it makes.
Forward = Generator[Leaf, None, T]


def mapped(change: Callable[[A], B | None], found: Generator[A, None, T]) -> Generator[B, None, T]:
    """What is found, changed one by one, None left out; returns what is returned."""
    while True:
        try:
            leaf = next(found)
        except StopIteration as end:
            made: T = end.value
            return made
        if (changed := change(leaf)) is not None:
            yield changed


def under(prefix: str, leaves: Forward[T]) -> Forward[T]:
    """The leaves with their names prefixed; returns what they return."""
    return mapped(lambda leaf: structs.replace(leaf, name=prefix + leaf.name), leaves)


def drained(leaves: Generator[A, None, T]) -> tuple[list[A], T]:
    """All that is found, and what is made."""
    found: list[A] = []
    while True:
        try:
            found.append(next(leaves))
        except StopIteration as end:
            return found, end.value
