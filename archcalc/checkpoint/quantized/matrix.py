"""One quantized matrix with its parts in memory maps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch
from torch import Tensor

from archcalc.checkpoint.memory_map import FileMaps
from archcalc.checkpoint.quantized.tensor import QuantizedTensor
from archcalc.errors import InputError, shown
from archcalc.formats.element_types import ELEMENT_TYPES
from archcalc.formats.file_tensor import FileTensor
from archcalc.formats.layouts import Grouped, Layout, PerRow, PerTensor, RowBlocks, Shape, Tiled, Words, ceil
from archcalc.words import msg

_DTYPES = {one.safetensors: getattr(torch, one.torch) for one in ELEMENT_TYPES.values() if one.safetensors}


@dataclass(frozen=True)
class Sizes:
    """The sizes of a matrix [out, in] and of its tiles, each of which has a scale.

    `bits`: of an integer. `facts`: what parts state.
    """

    n_out: int
    n_in: int
    layout: Layout
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def bits(self) -> int:
        """Return the bits of a packed integer; 4 for layouts that have no others."""
        return getattr(self.layout, "bits", 4)

    @property
    def tile(self) -> tuple[int, int]:
        """Return the rows and columns that share a scale: no more than there are."""
        rows, columns = self._stated_tile()
        return min(rows, self.n_out), min(columns, self.n_in)

    def _stated_tile(self) -> tuple[int, int]:
        match self.layout:
            case PerRow():
                return 1, self.n_in
            case Tiled(tile=rows, columns=columns):
                return rows, columns or rows
            case Grouped(group=group) | Words(group=group):
                return 1, group or self.n_in
            case RowBlocks(block=block):
                return 1, block
            case PerTensor():
                return self.n_out, self.n_in
        return 1, self.n_in

    @property
    def n_tiles(self) -> tuple[int, int]:
        """Return the number of tiles along the rows and the columns."""
        rows, columns = self.tile
        return ceil(self.n_out, rows), ceil(self.n_in, columns)


@dataclass(frozen=True)
class MatrixParts:
    """A matrix and its parts as tensors over the maps of their files."""

    stored: QuantizedTensor
    sizes: Sizes
    tensors: Mapping[str, Tensor]

    @classmethod
    def of(cls, maps: FileMaps, stored: QuantizedTensor, shapes: Callable[[Sizes], Mapping[str, Shape]]) -> MatrixParts:
        """Return a matrix with its parts in these shapes; nothing is read before it is used."""
        n_out, n_in = stored.shape
        sizes = Sizes(n_out, n_in, stored.layout, stored.facts)
        wanted = shapes(sizes)
        tensors = {
            role: raw_tensor(maps, part).view(tuple(wanted.get(role, part.shape)))
            for role, part in stored.parts.items()
        }
        if "index" in tensors and torch.equal(
            tensors["index"], torch.arange(n_in, dtype=tensors["index"].dtype) // sizes.tile[1]
        ):
            del tensors["index"]  # the groups follow each other
        return cls(stored, sizes, tensors)

    def __getitem__(self, role: str) -> Tensor:
        return self.tensors[role]

    def __contains__(self, role: str) -> bool:
        return role in self.tensors

    def error(self, role: str, problem: Any, allowed: Any) -> InputError:
        """Return the error for a part with invalid values."""
        part = self.stored.parts[role]
        return InputError(problem, where=shown(part.name, 200), allowed=allowed, file=str(part.file))


def raw_tensor(maps: FileMaps, part: FileTensor) -> Tensor:
    """Return a part over the map of its file, in its own dtype; unsigned words as int32."""
    dtype = torch.int32 if part.dtype == "U32" else _DTYPES[part.dtype]
    if not prod(part.shape):
        return torch.empty(part.shape, dtype=dtype)
    data = memoryview(maps.map(part))[part.start : part.start + part.n_bytes]
    return torch.frombuffer(data, dtype=torch.uint8).view(dtype).view(part.shape)


def floats(tensor: Tensor) -> Tensor:
    """Return scales in fp32: bytes are exponents of 2, less 127 (E8M0)."""
    is_exponent = tensor.dtype in (torch.uint8, torch.float8_e8m0fnu)
    return torch.exp2(tensor.view(torch.uint8).float() - 127) if is_exponent else tensor.float()


def spread_tiles(matrix: MatrixParts, small: Tensor, rows: slice) -> Tensor:
    """Return the values of the tiles [R, C] of some rows: [rows, C, 1] for tiles of equal widths, else [rows, in]."""
    height, width = matrix.sizes.tile
    of_rows = small[rows] if height == 1 else small[torch.arange(rows.start, rows.stop) // height]
    if "index" in matrix:
        return of_rows[:, _groups(matrix, small.shape[1])]
    is_even = small.shape[1] * width == matrix.sizes.n_in
    return of_rows.unsqueeze(-1) if is_even else of_rows.repeat_interleave(width, 1)[:, : matrix.sizes.n_in]


def _groups(matrix: MatrixParts, n: int) -> Tensor:
    """Return the group of each input."""
    index = matrix["index"].long()
    if index.min() < 0 or index.max() >= n:
        found = f"{int(index.min())} … {int(index.max())}"
        raise matrix.error("index", msg("found {found}", found=found), msg("groups from 0 to {last}", last=n - 1))
    return index
