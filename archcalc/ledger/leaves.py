"""The leaves of a ledger: weights, matmuls, caches, saved activations.

The ledger function of a part is a symbolic forward pass: it takes the input tensor, yields the part's leaves in the
order of execution, and returns the output tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Literal, TypeVar, get_args

import msgspec
from msgspec import structs

from archcalc.formats.element_types import ElementName
from archcalc.ledger.algebra import Poly
from archcalc.ledger.tensor import Tensor
from archcalc.spec.activation import ActivationName

Component = Literal[
    "embedding", "per_layer_embedding", "position", "attention", "ffn", "mixer", "norm", "head", "other"
]
COMPONENTS: tuple[Component, ...] = get_args(Component)

Kind = Literal["trainable", "frozen", "buffer"]

# When a backward pass recomputes a product: never; always; only if the checkpoint runs without early stop.
Recomputation = Literal["never", "always", "without early stop"]

# Elementwise operations; activation functions have their own names.
Operation = Literal[
    "softmax", "layernorm", "rmsnorm", "affine", "rope", "gate", "clamped_gate", "capped_gate", "softcap", "product",
    "clamp", "length_clip", "softplus", "scan",
]  # fmt: skip
Pointwise = Operation | ActivationName


class Weight(msgspec.Struct, frozen=True):
    """One stored tensor of a part: its name within the part, its axes (outermost first), its component.

    `active_axes` are the axes of the elements that one token uses, if these are fewer: a mixture's experts. A weight
    that `convolves` is a filter for each channel, no matrix.
    """

    name: str
    axes: tuple[Poly, ...]
    component: Component
    kind: Kind = "trainable"
    active_axes: tuple[Poly, ...] | None = None
    convolves: bool = False


class Matmul(msgspec.Struct, frozen=True):
    """A matrix product over `axes`, whose product is the number of multiply-accumulates.

    `causal_axes` count only the attended (query, key) pairs. `name` is the module that computes it; the two products
    of attention have their own names. `forward` and `backward` are how often each of the two passes computes it.
    """

    name: str
    axes: tuple[Poly, ...]
    component: Component
    causal_axes: tuple[Poly, ...] | None = None
    recomputation: Recomputation = "never"
    forward: int = 1
    backward: int = 2


class Elementwise(msgspec.Struct, frozen=True):
    """An elementwise operation on a tensor of these axes; its cost is modeled."""

    name: str
    axes: tuple[Poly, ...]
    component: Component
    operation: Pointwise


class CachedTensor(msgspec.Struct, frozen=True):
    """A tensor that a layer caches for each sequence: `axes` without the batch."""

    name: str
    axes: tuple[Poly, ...]


class State(msgspec.Struct, frozen=True):
    """A recurrent state of fixed size for each sequence: `axes` without the batch.

    `dtype` is its fixed dtype; None is that of the model.
    """

    name: str
    axes: tuple[Poly, ...]
    dtype: ElementName | None = None


class Save(msgspec.Struct, frozen=True):
    """An operation (`name`) saves a tensor for its backward pass. Several may save the same tensor."""

    name: str
    tensor: Tensor
    component: Component


class SavedActivation(msgspec.Struct, frozen=True):
    """A saved tensor, under the name of the first operation that saves it."""

    name: str
    label: str
    axes: tuple[Poly, ...]
    dtype: ElementName
    component: Component


Leaf = Weight | Matmul | Elementwise | CachedTensor | State | Save
Entry = Weight | Matmul | Elementwise | CachedTensor | State | SavedActivation
T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")

# The ledger function of a part yields leaves and returns its output.
Forward = Generator[Leaf, None, T]


def map_leaves(change: Callable[[A], B | None], leaves: Generator[A, None, T]) -> Generator[B, None, T]:
    """Yield each leaf changed by `change`, without None; return what `leaves` returns."""
    while True:
        try:
            leaf = next(leaves)
        except StopIteration as end:
            output: T = end.value
            return output
        if (changed := change(leaf)) is not None:
            yield changed


def without_gradients(leaves: Forward[T]) -> Forward[T]:
    """Yield the leaves of a region through which no gradient passes: it saves nothing."""
    return map_leaves(_without_gradients, leaves)


def _without_gradients(leaf: Leaf) -> Leaf | None:
    if isinstance(leaf, Save):
        return None
    return structs.replace(leaf, backward=0, recomputation="never") if isinstance(leaf, Matmul) else leaf


def without_weights(leaves: Forward[T]) -> Forward[T]:
    """Yield the leaves of a part whose weights are those of another."""
    return map_leaves(lambda leaf: None if isinstance(leaf, Weight) else leaf, leaves)


def only_weights(leaves: Forward[T]) -> Forward[T]:
    """Yield the weights of a part that is never computed."""
    return map_leaves(lambda leaf: leaf if isinstance(leaf, Weight) else None, leaves)


def with_prefix(prefix: str, leaves: Forward[T]) -> Forward[T]:
    """Yield the leaves with prefixed names; return what `leaves` returns."""
    return map_leaves(lambda leaf: structs.replace(leaf, name=prefix + leaf.name), leaves)


def collect(leaves: Generator[A, None, T]) -> tuple[list[A], T]:
    """Return the list of the leaves, and what `leaves` returns."""
    items: list[A] = []
    while True:
        try:
            items.append(next(leaves))
        except StopIteration as end:
            return items, end.value
