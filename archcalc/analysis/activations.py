"""Bytes that autograd keeps from a forward pass to its backward pass, as folds over the ledger's kept tensors.

Exact for the way of carrying it out that the ledger was built with (`archcalc.spec.execution.Execution`): each storage
once, parameters apart. On a GPU nobody has measured it: there the same rules make a model.
"""

from __future__ import annotations

from typing import Literal, TypedDict

import msgspec

from archcalc.ledger.leaves import COMPONENTS, Component
from archcalc.ledger.rows import Ledger, SavedActivationRow
from archcalc.spec.execution import Execution
from archcalc.spec.workload import Workload
from archcalc.words import Message, msg

Sureness = Literal["exact", "modelled"]


class Activations(TypedDict):
    """Bytes by what keeps them; `square_bytes` is the part of the total that grows with the square of the sequence."""

    total_bytes: int
    square_bytes: int
    by_component: dict[Component, int]
    by_stack: dict[str, int]


class KeptBytes(msgspec.Struct, frozen=True):
    """One kept tensor's bytes over all its layers and sequences."""

    row: SavedActivationRow
    total_bytes: int

    @property
    def layer_bytes(self) -> int:
        """In one layer; of what no layer has for itself, all of it."""
        return self.total_bytes // max(1, len(self.row.layer_indices))


def by_tensor(ledger: Ledger, work: Workload) -> list[KeptBytes]:
    """Every kept tensor's bytes, in the order of the forward pass. The ledger must be one of a training step."""
    sizes = ledger.at(work)
    return [KeptBytes(row, row.bytes(sizes)) for row in ledger.saved_activations]


def summary(ledger: Ledger, work: Workload) -> Activations:
    """The totals of a workload."""
    return totals(by_tensor(ledger, work))


def totals(kept: list[KeptBytes]) -> Activations:
    """The sums over kept tensors."""
    by_component = {component: _sum(kept, component) for component in COMPONENTS}
    return {
        "total_bytes": sum(one.total_bytes for one in kept),
        "square_bytes": sum(one.total_bytes for one in kept if one.row.is_square),
        "by_component": {component: found for component, found in by_component.items() if found},
        "by_stack": _by_stack(kept),
    }


def _sum(kept: list[KeptBytes], component: Component) -> int:
    return sum(one.total_bytes for one in kept if one.row.component == component)


def _by_stack(kept: list[KeptBytes]) -> dict[str, int]:
    """What stands in layers and what outside of them: 'layers', 'encoder.layers', 'outside'."""
    found: dict[str, int] = {}
    for one in kept:
        prefix, layered, _ = one.row.path.partition(".{i}")
        place = prefix if layered else "outside"
        found[place] = found.get(place, 0) + one.total_bytes
    return found


def per_layer(kept: list[KeptBytes]) -> list[tuple[str | Message, int, int]]:
    """(layer, bytes, bytes of the square term) for each turn of a layer, and one line for what stands outside."""
    lines: dict[str, tuple[int, int]] = {}
    for one in kept:
        prefix, layered, _ = one.row.path.partition("{i}")
        square = one.layer_bytes if one.row.is_square else 0
        for label in [f"{prefix}{turn}" for turn in one.row.layer_indices] if layered else [""]:
            total, squares = lines.get(label, (0, 0))
            lines[label] = total + one.layer_bytes, squares + square
    return [(label or msg("outside the layers"), *sums) for label, sums in lines.items()]


def sureness(how: Execution) -> Sureness:
    """How sure the figures are: measured equal on meta and on the CPU, a model of a GPU."""
    return "modelled" if how.device == "cuda" else "exact"
