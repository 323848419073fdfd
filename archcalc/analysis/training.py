"""Bytes that training keeps from step to step: weights, gradients, a master copy, optimiser states; exact.

A recipe says in which dtype each is. What a step holds only while it runs, its saved activations, is no part of this.
Frozen parameters and buffers are stored and have no more than that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, get_args

import msgspec

from archcalc.analysis.memory import Dtype
from archcalc.analysis.optimisers import Optimiser, StateBytes
from archcalc.errors import InputError, nearest, shown
from archcalc.formats.element_types import element_bytes
from archcalc.ledger.algebra import Poly
from archcalc.ledger.leaves import COMPONENTS, Component
from archcalc.ledger.rows import WeightRow
from archcalc.words import Message, msg

Part = Literal["weights", "gradients", "master", "optimiser"]
PARTS: tuple[Part, ...] = get_args(Part)


class Precision(msgspec.Struct, frozen=True):
    """The dtypes that a model is trained in; `master` is None where the optimiser steps on the weights themselves."""

    weights: Dtype
    gradients: Dtype
    master: Dtype | None = None

    @property
    def stepped(self) -> Dtype:
        """The dtype of what the optimiser steps on."""
        return self.master or self.weights


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """A way to train: the dtypes that its weights may have, the usual one first; its gradients' and its copy's.

    Gradients of None are in the weights' dtype; a copy of None is not made.
    """

    name: str
    title: Message
    dtypes: tuple[Dtype, ...]
    gradients: Dtype | None = None
    master: Dtype | None = None
    source: str

    def precision(self, dtype: str | None = None) -> Precision:
        """The recipe with weights in a dtype, its usual one if left out. InputError if it has none in that."""
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
            title=msg("mixed precision: weights and gradients in 16 bits, the optimiser steps on an fp32 copy"),
            dtypes=("bf16", "fp16"),
            master="fp32",
            source="Micikevicius et al. 2017, arXiv:1710.03740; Rajbhandari et al. 2020 (ZeRO), arXiv:1910.02054, 3.1",
        ),
        Recipe(
            name="megatron",
            title=msg("mixed precision with gradients gathered in fp32"),
            dtypes=("bf16", "fp16"),
            gradients="fp32",
            master="fp32",
            source="Megatron-LM: --bf16 with its default --accumulate-allreduce-grads-in-fp32",
        ),
        Recipe(
            name="pure",
            title=msg("one dtype for all, no copy"),
            dtypes=("bf16", "fp16", "fp32"),
            source="torch: model.to(dtype), trained as it is",
        ),
        Recipe(
            name="autocast",
            title=msg("torch.autocast: all that lasts is in fp32, products are computed in 16 bits"),
            dtypes=("fp32",),
            source="torch.autocast: parameters stay as they are, and so do their gradients",
        ),
    )
}


def recipe(name: str | None = None, dtype: str | None = None) -> Recipe:
    """The recipe of that name; without one, the first that has weights in this dtype. InputError if there is none."""
    if name is None:
        return next((one for one in RECIPES.values() if dtype is None or dtype in one.dtypes), RECIPES["pure"])
    if name not in RECIPES:
        raise InputError(
            msg("no recipe {name}{hint}", name=shown(name), hint=nearest(name, RECIPES)), allowed=", ".join(RECIPES)
        )
    return RECIPES[name]


class Kept(msgspec.Struct, frozen=True):
    """What training keeps of a row, over all its layers."""

    row: WeightRow
    weights: int
    gradients: int
    master: int
    states: StateBytes

    @property
    def optimiser(self) -> int:
        """The optimiser's states, step counters apart."""
        return self.states.total

    @property
    def total(self) -> int:
        """All four."""
        return self.weights + self.gradients + self.master + self.optimiser


def kept(rows: Iterable[WeightRow], precision: Precision, optimiser: Optimiser) -> list[Kept]:
    """What training keeps of each row.

    >>> from archcalc.analysis.optimisers import named
    >>> from archcalc.ledger.build import build
    >>> from archcalc.sources import load
    >>> lines = kept(build(load("gpt3")).rows, recipe("mixed").precision(), named("adamw"))
    >>> sum(line.total for line in lines) == 16 * 174_604_259_328
    True
    """
    return [_kept(row, precision, optimiser) for row in rows]


def _kept(row: WeightRow, precision: Precision, optimiser: Optimiser) -> Kept:
    trained = row.total if row.kind == "trainable" else 0
    return Kept(
        row,
        weights=row.total * element_bytes(precision.weights),
        gradients=trained * element_bytes(precision.gradients),
        master=trained * _master_bytes(precision),
        states=optimiser.of(row, element_bytes(precision.stepped)),
    )


def _master_bytes(precision: Precision) -> int:
    return element_bytes(precision.master) if precision.master else 0


class Totals(msgspec.Struct, frozen=True):
    """Sums over rows: each part, all of them, and the step counters that are no part of it."""

    weights: int
    gradients: int
    master: int
    optimiser: int
    steps: int = 0

    @property
    def total(self) -> int:
        """All but the step counters."""
        return self.weights + self.gradients + self.master + self.optimiser


def totals(lines: Sequence[Kept]) -> Totals:
    """The sums over lines."""
    return Totals(
        weights=sum(line.weights for line in lines),
        gradients=sum(line.gradients for line in lines),
        master=sum(line.master for line in lines),
        optimiser=sum(line.optimiser for line in lines),
        steps=sum(line.states.steps for line in lines),
    )


def by_component(lines: Sequence[Kept]) -> dict[Component | Literal["buffers"], Totals]:
    """The sums over each component that has any, and over the buffers, which no component has."""
    found: dict[Component | Literal["buffers"], Totals] = {}
    for component in COMPONENTS:
        if own := [line for line in lines if line.row.is_counted and line.row.component == component]:
            found[component] = totals(own)
    if buffers := [line for line in lines if not line.row.is_counted]:
        found["buffers"] = totals(buffers)
    return found


def formulas(rows: Sequence[WeightRow], precision: Precision, optimiser: Optimiser) -> dict[Part, Poly | None]:
    """Each part in symbols; None where it is no polynomial, as states in blocks are not."""
    trained = [row for row in rows if row.kind == "trainable"]
    states = [optimiser.formula(row, element_bytes(precision.stepped)) for row in trained]
    known = [state for state in states if state is not None]
    every, of_trained = (Poly.sum(row.formula for row in some) for some in (rows, trained))
    return {
        "weights": element_bytes(precision.weights) * every,
        "gradients": element_bytes(precision.gradients) * of_trained,
        "master": _master_bytes(precision) * of_trained,
        "optimiser": Poly.sum(known) if len(known) == len(states) else None,
    }
