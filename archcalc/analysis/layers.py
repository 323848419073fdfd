"""FLOPs layer by layer."""

from __future__ import annotations

import msgspec

from archcalc.analysis.flops import OpFlops
from archcalc.spec.groups import groups
from archcalc.spec.model import Spec


class LayerFlops(msgspec.Struct, frozen=True):
    """What one layer computes; or one product outside of the layers, by its path.

    `kind` names the layers that are alike, where a stack has others too.
    """

    label: str
    kind: str
    forward: int
    forward_causal: int

    @property
    def backward(self) -> int:
        """Two products for each of the forward pass."""
        return 2 * self.forward


def by_layer(spec: Spec, ops: list[OpFlops]) -> list[LayerFlops]:
    """A line for each layer of each stack in turn, and one for each product that is in none; they add up to the total.

    A layer that uses another's weights costs as much as that one.
    """
    kinds = _kinds(spec)
    lines: dict[str, list[tuple[int, int]]] = {label: [] for label in kinds}
    for op in ops:
        n, path = op.row.layers, op.row.path
        before, repeated, _ = path.partition("{i}")
        for label in [f"{before}{turn}" for turn in op.row.layer_indices] if repeated else [path]:
            lines.setdefault(label, []).append((op.forward // n, op.forward_causal // n))
    return [
        LayerFlops(label, kinds.get(label, ""), sum(full for full, _ in own), sum(causal for _, causal in own))
        for label, own in lines.items()
    ]


def _kinds(spec: Spec) -> dict[str, str]:
    """What every layer is called where layers differ, by its path."""
    found: dict[str, str] = {}
    for each in spec.stacks:
        prefix, alike = each.prefix, groups(each.stack)
        names = {turn: group.name if len(alike) > 1 else "" for group in alike for turn in group.layer_indices}
        found |= {f"{prefix}layers.{turn}": names[turn] for turn in sorted(names)}
    return found
