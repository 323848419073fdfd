"""Which part of a stored tensor is which of ours: what `archcalc.hf.tensors.TensorEntry` joins, taken apart, as views.

Each order gives pairs of views, ours and the stored, of one shape; copying the second into the first loads it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from archcalc.hf.tensors import TensorEntry

Pair = tuple[Tensor, Tensor]
# Orders within each head of one tensor.
OF_HEADS = ("turned", "swapped")


def pairs(held: TensorEntry, stored: Tensor, ours: Sequence[Tensor], n_groups: int = 1) -> list[Pair]:
    """Views of `ours` and of what is stored. `n_groups`: the heads by which rows are told apart."""
    whole = stored.transpose(-1, -2) if held.transposed else stored.squeeze(0) if held.as_row else stored
    if len(ours) == 1 and held.order not in OF_HEADS:
        return [(ours[0], whole)]
    return _ORDERS[held.order](held.axis, whole, ours, n_groups)


def _whole(axis: int, whole: Tensor, ours: Sequence[Tensor], n_groups: int) -> list[Pair]:
    """One after the other."""
    return list(zip(ours, torch.split(whole, [part.shape[axis] for part in ours], axis), strict=True))


def _alternate(axis: int, whole: Tensor, ours: Sequence[Tensor], n_groups: int) -> list[Pair]:
    """Row by row in turn."""
    return list(zip(ours, torch.unflatten(whole, axis, (-1, len(ours))).unbind(axis + 1), strict=True))


def _by_head(axis: int, whole: Tensor, ours: Sequence[Tensor], n_groups: int) -> list[Pair]:
    """For each head of keys: its queries, its key, its value."""
    grouped = [torch.unflatten(part, axis, (n_groups, -1)) for part in ours]
    fused = torch.unflatten(whole, axis, (n_groups, -1))
    rows = torch.split(fused, [part.shape[axis + 1] for part in grouped], axis + 1)
    return list(zip(grouped, rows, strict=True))


def _turned(axis: int, whole: Tensor, ours: Sequence[Tensor], n_groups: int) -> list[Pair]:
    """In each head the rows that turn together lie side by side; ours lie half a head apart (Su et al. 2021)."""
    (part,) = ours
    return [(torch.unflatten(part, 0, (n_groups, 2, -1)), torch.unflatten(whole, 0, (n_groups, -1, 2)).transpose(1, 2))]


def _swapped(axis: int, whole: Tensor, ours: Sequence[Tensor], n_groups: int) -> list[Pair]:
    """The halves of each head exchanged."""
    (part,) = ours
    return [(torch.unflatten(part, 0, (n_groups, 2, -1)), torch.unflatten(whole, 0, (n_groups, 2, -1)).flip(1))]


_ORDERS: dict[str, Callable[[int, Tensor, Sequence[Tensor], int], list[Pair]]] = {
    "whole": _whole,
    "alternate": _alternate,
    "by_head": _by_head,
    "in_four": _by_head,
    "turned": _turned,
    "swapped": _swapped,
}
