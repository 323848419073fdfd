"""Persistent bytes of training: weights, gradients, a master copy, optimizer states; exact.

A recipe has the dtype of each. Saved activations, which live within a step, are not part of them. Frozen parameters and
buffers are stored, and have no gradients, copies or states.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, get_args

import msgspec

from archcalc.analysis.memory import Dtype
from archcalc.analysis.optimizers import Optimizer, StateBytes
from archcalc.errors import InputError, nearest, shown
from archcalc.formats.element_types import element_bytes
from archcalc.ledger.algebra import Poly
from archcalc.ledger.leaves import COMPONENTS, Component
from archcalc.ledger.rows import WeightRow
from archcalc.words import Message, msg

Part = Literal["weights", "gradients", "master", "optimizer"]
PARTS: tuple[Part, ...] = get_args(Part)


class Precision(msgspec.Struct, frozen=True):
    """The dtypes of a training; `master` is None where the optimizer updates the weights themselves."""

    weights: Dtype
    gradients: Dtype
    master: Dtype | None = None

    @property
    def updated(self) -> Dtype:
        """Return the dtype of the tensors that the optimizer updates."""
        return self.master or self.weights


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """A mixed-precision recipe: the dtypes of its weights, the default first, of its gradients and of its master copy.

    Gradients of None are in the weights' dtype; a `master` of None is no copy.
    """

    name: str
    title: Message
    dtypes: tuple[Dtype, ...]
    gradients: Dtype | None = None
    master: Dtype | None = None
    source: str

    def precision(self, dtype: str | None = None) -> Precision:
        """Return the dtypes with weights in `dtype` (default: the recipe's first). Raise InputError for another."""
        for weights in self.dtypes:
            if dtype in (None, weights):
                return Precision(weights, self.gradients or weights, self.master)
        allowed = ", ".join(self.dtypes)
        raise InputError(
            msg("the recipe {name} has no weights in {dtype}", name=repr(self.name), dtype=shown(dtype)),
            where="dtype",
            allowed=allowed,
        )


RECIPES: dict[str, Recipe] = {
    entry.name: entry
    for entry in (
        Recipe(
            name="mixed",
            title=msg("mixed precision: weights and gradients in 16 bits, the optimizer updates an fp32 copy"),
            dtypes=("bf16", "fp16"),
            master="fp32",
            source="Micikevicius et al. 2017, arXiv:1710.03740; Rajbhandari et al. 2020 (ZeRO), arXiv:1910.02054, 3.1",
        ),
        Recipe(
            name="megatron",
            title=msg("mixed precision with gradients accumulated in fp32"),
            dtypes=("bf16", "fp16"),
            gradients="fp32",
            master="fp32",
            source="Megatron-LM: --bf16 with its default --accumulate-allreduce-grads-in-fp32",
        ),
        Recipe(
            name="pure",
            title=msg("one dtype for everything, no master copy"),
            dtypes=("bf16", "fp16", "fp32"),
            source="torch: model.to(dtype)",
        ),
        Recipe(
            name="autocast",
            title=msg("torch.autocast: parameters, gradients and states in fp32, matrix products in 16 bits"),
            dtypes=("fp32",),
            source="torch.autocast: parameters and their gradients keep their dtype",
        ),
    )
}


def find_recipe(name: str | None = None, dtype: str | None = None) -> Recipe:
    """Return the recipe of a name; without a name, the first with weights in this dtype. Raise InputError for none."""
    if name is None:
        return next((one for one in RECIPES.values() if dtype is None or dtype in one.dtypes), RECIPES["pure"])
    if name not in RECIPES:
        raise InputError(
            msg("no recipe {name}{hint}", name=shown(name), hint=nearest(name, RECIPES)), allowed=", ".join(RECIPES)
        )
    return RECIPES[name]


class PersistentTensor(msgspec.Struct, frozen=True):
    """The persistent bytes of a row of the ledger, over all its layers."""

    row: WeightRow
    weights_bytes: int
    gradients_bytes: int
    master_bytes: int
    states: StateBytes

    @property
    def optimizer_bytes(self) -> int:
        """Return the bytes of the optimizer states, without step counters."""
        return self.states.total

    @property
    def bytes(self) -> int:
        """Return the bytes of all four parts."""
        return self.weights_bytes + self.gradients_bytes + self.master_bytes + self.optimizer_bytes


def persistent_tensors(rows: Iterable[WeightRow], precision: Precision, optimizer: Optimizer) -> list[PersistentTensor]:
    """Return the persistent bytes of each row.

    >>> from archcalc.analysis.optimizers import find_optimizer
    >>> from archcalc.ledger.build import build
    >>> from archcalc.sources import load
    >>> rows, precision = build(load("gpt3")).rows, find_recipe("mixed").precision()
    >>> tensors = persistent_tensors(rows, precision, find_optimizer("adamw"))
    >>> sum(tensor.bytes for tensor in tensors) == 16 * 174_604_259_328
    True
    """
    return [_persistent_tensor(row, precision, optimizer) for row in rows]


def _persistent_tensor(row: WeightRow, precision: Precision, optimizer: Optimizer) -> PersistentTensor:
    n_trained = row.total if row.kind == "trainable" else 0
    return PersistentTensor(
        row,
        weights_bytes=row.total * element_bytes(precision.weights),
        gradients_bytes=n_trained * element_bytes(precision.gradients),
        master_bytes=n_trained * _master_element_bytes(precision),
        states=optimizer.state_bytes(row, element_bytes(precision.updated)),
    )


def _master_element_bytes(precision: Precision) -> int:
    return element_bytes(precision.master) if precision.master else 0


class PersistentBytes(msgspec.Struct, frozen=True):
    """Sums over tensors: the bytes of each part, and of the step counters, which are not part of the total."""

    weights_bytes: int
    gradients_bytes: int
    master_bytes: int
    optimizer_bytes: int
    step_counters_bytes: int = 0

    @property
    def bytes(self) -> int:
        """Return the bytes of all parts, without step counters."""
        return sum(map(self.of, PARTS))

    def of(self, part: Part) -> int:
        """Return the bytes of one part."""
        return int(getattr(self, f"{part}_bytes"))


def persistent_bytes(tensors: Sequence[PersistentTensor]) -> PersistentBytes:
    """Return the sums over tensors."""
    return PersistentBytes(
        weights_bytes=sum(tensor.weights_bytes for tensor in tensors),
        gradients_bytes=sum(tensor.gradients_bytes for tensor in tensors),
        master_bytes=sum(tensor.master_bytes for tensor in tensors),
        optimizer_bytes=sum(tensor.optimizer_bytes for tensor in tensors),
        step_counters_bytes=sum(tensor.states.steps for tensor in tensors),
    )


def by_component(tensors: Sequence[PersistentTensor]) -> dict[Component | Literal["buffers"], PersistentBytes]:
    """Return the sums over each component that has tensors, and over the buffers, which belong to no component."""
    sums: dict[Component | Literal["buffers"], PersistentBytes] = {}
    for component in COMPONENTS:
        if own := [tensor for tensor in tensors if tensor.row.is_counted and tensor.row.component == component]:
            sums[component] = persistent_bytes(own)
    if buffers := [tensor for tensor in tensors if not tensor.row.is_counted]:
        sums["buffers"] = persistent_bytes(buffers)
    return sums


def formulas(rows: Sequence[WeightRow], precision: Precision, optimizer: Optimizer) -> dict[Part, Poly | None]:
    """Return the bytes of each part in symbols; None where they are no polynomial, as states in blocks are not."""
    trained = [row for row in rows if row.kind == "trainable"]
    states = [optimizer.formula(row, element_bytes(precision.updated)) for row in trained]
    known = [state for state in states if state is not None]
    every, of_trained = (Poly.sum(row.formula for row in some) for some in (rows, trained))
    return {
        "weights": element_bytes(precision.weights) * every,
        "gradients": element_bytes(precision.gradients) * of_trained,
        "master": _master_element_bytes(precision) * of_trained,
        "optimizer": Poly.sum(known) if len(known) == len(states) else None,
    }
