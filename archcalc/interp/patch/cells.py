"""Cells of a map of effects: a target at one position, or at all positions at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import msgspec
import torch
from torch import Tensor

from archcalc.interp.patch.targets import PatchTarget
from archcalc.nn.taps import Edit
from archcalc.nn.taps.record import Recording
from archcalc.spec.sites import Site


class Cell(msgspec.Struct, frozen=True):
    """A target at a position (None: all), and where its figures belong: `row` of the targets, `column` of its map."""

    target: PatchTarget
    position: int | None
    row: int
    column: int


def cells(targets: Sequence[PatchTarget], n_tokens: Sequence[int]) -> list[Cell]:
    """Return the cells of every target, those that begin at one layer after another; the last column is all positions.

    `n_tokens` are those of each stack's text.
    """
    found = [
        Cell(target, position, row, column)
        for row, target in enumerate(targets)
        for column, position in enumerate([*range(n_tokens[target.stack]), None])
    ]
    return sorted(found, key=_order)


def _order(cell: Cell) -> tuple[int, int]:
    return cell.target.stack, cell.target.first_layer


def batches(all_cells: Sequence[Cell], n_rows: int) -> Iterator[list[Cell]]:
    """Yield the cells that run together: up to `n_rows` of one stack."""
    for _, group in groupby(all_cells, lambda cell: cell.target.stack):
        in_stack = list(group)
        yield from (in_stack[i : i + n_rows] for i in range(0, len(in_stack), n_rows))


def index_of(site: Site, target: PatchTarget, position: int | None) -> tuple[Any, ...]:
    """Return the index of a cell in a site's value without the batch."""
    chosen = {"T": position, target.axis: target.index}
    return tuple(slice(None) if chosen.get(axis) is None else chosen[axis] for axis in site.axes[1:])


def is_equal(cell: Cell, clean: Recording, corrupted: Recording) -> bool:
    """Return whether a cell has the same values in both passes, so that restoring it changes nothing."""
    return all(
        torch.equal(clean[site.name][0][index], corrupted[site.name][0][index])
        for site in cell.target.sites
        for index in (index_of(site, cell.target, cell.position),)
    )


def restorations(batch: Sequence[Cell], clean: Recording) -> list[Edit]:
    """Return the edits that restore the clean values of each cell in its row of a batch."""
    places: dict[str, list[tuple[Any, ...]]] = {}
    for row, cell in enumerate(batch):
        for site in cell.target.sites:
            places.setdefault(site.name, []).append((row, *index_of(site, cell.target, cell.position)))
    return [_restoration(name, clean[name], indices) for name, indices in places.items()]


def _restoration(name: str, clean: Tensor, indices: Sequence[tuple[Any, ...]]) -> Edit:
    def restore(x: Tensor) -> Tensor:
        for index in indices:
            x[index] = clean[index]
        return x

    return Edit(name, None, restore)
