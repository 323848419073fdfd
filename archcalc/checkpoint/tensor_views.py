"""Pair the parts of a stored tensor with canonical tensors, as views: the inverse of `archcalc.hf.tensors.TensorEntry`.

Both views of a pair have one shape; copying the stored one into the canonical one loads it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from archcalc.hf.tensors import TensorEntry

Pair = tuple[Tensor, Tensor]
# Orders of rows within each head, and of the rows of a single tensor.
WITHIN_HEADS = ("turned", "swapped")
WITHIN_ONE = (*WITHIN_HEADS, "halves", "tiled")


def view_pairs(mapping: TensorEntry, stored: Tensor, ours: Sequence[Tensor], n_groups: int = 1) -> list[Pair]:
    """Return (canonical, stored) views; `n_groups` is the number of heads by which rows are ordered."""
    if mapping.n_blocks:
        (part,) = ours
        return [(part, stored.transpose(1, 2).flatten(0, 1).unsqueeze(-1))]
    if mapping.n_row_groups:
        rows = stored.flatten(0, 1)
        if len(ours) > 1:
            return _consecutive(0, rows, ours, 1)
        (part,) = ours
        return [(part, rows if rows.dim() == part.dim() else rows.unsqueeze(-1))]
    whole = stored.squeeze(mapping.unit_axes) if mapping.unit_axes else stored
    for axis in mapping.squeezed_axes:
        whole = whole.unsqueeze(axis)
    whole = torch.unflatten(whole, 0, (ours[0].shape[0], -1)) if mapping.joins_rows else whole
    whole = whole.transpose(-1, -2) if mapping.transposed else whole
    whole = whole.unsqueeze(0) if mapping.is_flat else whole
    if mapping.order == "tiled":
        return _tiled(mapping, whole, ours)
    if len(ours) == 1 and mapping.order not in WITHIN_ONE:
        return [(ours[0], whole)]
    return _SPLITS[mapping.order](mapping.axis, whole, ours, n_groups)


def _consecutive(axis: int, fused: Tensor, ours: Sequence[Tensor], n_groups: int) -> list[Pair]:
    """Split a tensor that holds ours one after another."""
    return list(zip(ours, torch.split(fused, [part.shape[axis] for part in ours], axis), strict=True))


def _tiled(mapping: TensorEntry, fused: Tensor, ours: Sequence[Tensor]) -> list[Pair]:
    """Split a tensor whose last part has its heads in the order of their place in a group."""
    *before, (part, stored) = _consecutive(mapping.axis, fused, ours, 1)
    axis, (n_groups, n_heads) = mapping.axis, mapping.tile
    tiles = torch.unflatten(stored, axis, (n_heads, n_groups, -1)).transpose(axis, axis + 1)
    return [*before, (torch.unflatten(part, axis, (n_groups, n_heads, -1)), tiles)]


def _alternating(axis: int, fused: Tensor, ours: Sequence[Tensor], n_groups: int) -> list[Pair]:
    """Split a tensor that holds a row of each of ours by turns."""
    return list(zip(ours, torch.unflatten(fused, axis, (-1, len(ours))).unbind(axis + 1), strict=True))


def _by_head(axis: int, fused: Tensor, ours: Sequence[Tensor], n_groups: int) -> list[Pair]:
    """Split a tensor that holds, for each key head, its queries, key and value."""
    grouped = [torch.unflatten(part, axis, (n_groups, -1)) for part in ours]
    heads = torch.unflatten(fused, axis, (n_groups, -1))
    rows = torch.split(heads, [part.shape[axis + 1] for part in grouped], axis + 1)
    return list(zip(grouped, rows, strict=True))


def _interleaved(axis: int, stored: Tensor, ours: Sequence[Tensor], n_groups: int) -> list[Pair]:
    """Pair rows of a head that are rotated together: stored side by side, ours half a head apart (Su et al. 2021)."""
    (part,) = ours
    return [
        (torch.unflatten(part, 0, (n_groups, 2, -1)), torch.unflatten(stored, 0, (n_groups, -1, 2)).transpose(1, 2))
    ]


def _swapped_halves(axis: int, stored: Tensor, ours: Sequence[Tensor], n_groups: int) -> list[Pair]:
    """Pair heads whose halves are stored in the opposite order."""
    (part,) = ours
    return [(torch.unflatten(part, 0, (n_groups, 2, -1)), torch.unflatten(stored, 0, (n_groups, 2, -1)).flip(1))]


def _halves_by_turns(axis: int, stored: Tensor, ours: Sequence[Tensor], n_groups: int) -> list[Pair]:
    """Pair a tensor's halves with rows that are stored by turns."""
    (part,) = ours
    return [(torch.unflatten(part, 0, (2, -1)), torch.unflatten(stored, 0, (-1, 2)).transpose(0, 1))]


_SPLITS: dict[str, Callable[[int, Tensor, Sequence[Tensor], int], list[Pair]]] = {
    "whole": _consecutive,
    "alternate": _alternating,
    "by_head": _by_head,
    "by_query_head": _by_head,
    "in_four": _by_head,
    "turned": _interleaved,
    "swapped": _swapped_halves,
    "halves": _halves_by_turns,
}
