"""FLOPs of each layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from archcalc.analysis.flops import OpFlops
from archcalc.results import Row, Sureness, count, data, share, text
from archcalc.spec.groups import groups
from archcalc.spec.model import Spec
from archcalc.words import msg


class LayerFlops(Row, frozen=True, kw_only=True):
    """FLOPs of one layer; or of one product outside the layers."""

    path: Annotated[str, text(msg("layer"))]
    group: Annotated[str, text(msg("kind of layer"), shown="varied")]
    forward: Annotated[int, count(msg("forward"), rounded="count")]
    forward_causal: Annotated[int, count(msg("causal"))]
    backward: Annotated[int, count(msg("backward"))]
    share: Annotated[float, share(msg("share"))]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))] = "exact"


def by_layer(spec: Spec, ops: Sequence[OpFlops]) -> list[LayerFlops]:
    """Return a row for each layer of each stack in turn, and one for each product outside; they add up to the total.

    A layer that uses the weights of another costs as much as that one.
    """
    kinds, total = _kinds(spec), sum(op.forward for op in ops)
    costs: dict[str, list[tuple[int, int, int]]] = {path: [] for path in kinds}
    for op in ops:
        n, path = op.row.layers, op.row.path
        before, in_layers, _ = path.partition("{i}")
        for own in [f"{before}{index}" for index in op.row.layer_indices] if in_layers else [path]:
            costs.setdefault(own, []).append((op.forward // n, op.forward_causal // n, op.backward // n))
    return [
        _layer(path, kinds.get(path, ""), [sum(part) for part in zip(*own, strict=True)] or [0, 0, 0], total)
        for path, own in costs.items()
    ]


def _layer(path: str, group: str, flops: Sequence[int], total: int) -> LayerFlops:
    forward, forward_causal, backward = flops
    return LayerFlops(
        path=path,
        group=group,
        forward=forward,
        forward_causal=forward_causal,
        backward=backward,
        share=forward / total,
    )


def _kinds(spec: Spec) -> dict[str, str]:
    """Return the kind of every layer by its path: its name where a stack has several kinds."""
    kinds: dict[str, str] = {}
    for each in spec.stacks:
        prefix, alike = each.prefix, groups(each.stack)
        names = {index: group.name if len(alike) > 1 else "" for group in alike for index in group.layer_indices}
        kinds |= {f"{prefix}layers.{index}": names[index] for index in sorted(names)}
    return kinds
