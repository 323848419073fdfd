"""A matrix as panels of a few outputs each: a layout that one row of inputs reads at memory speed.

A row times a matrix is a weighted sum of the matrix's columns. PyTorch's embedding bag, whose kernel sums rows of a
table with a weight for each, computes it: the table is a panel's columns, the weights are the inputs.

Axes: M rows of inputs, I inputs, O outputs, C panels, P outputs of a panel.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import lru_cache
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

FEW_ROWS = 2  # up to so many rows go through the one-row kernel, row by row; more through a matrix product
# From so many rows on, panels are copied side by side, a cache-sized block at a time, for a product with more columns.
MANY_ROWS = 128
BLOCK_OUTPUTS = 512  # outputs of such a block


class Panels(ABC):
    """A matrix [O, I] in panels [C, I, P]: the first `n_skip` outputs are not read; zeros pad the last panel."""

    format: str
    width: int
    group = 1  # the number of inputs is a multiple of it
    product_dtype = torch.float32  # of a product of MANY_ROWS or more

    @classmethod
    @abstractmethod
    def pack(cls, weight_OI: Tensor) -> Self:
        """Pack the matrix [O, I]."""

    @classmethod
    def pack_in_place(cls, weight_OI: Tensor) -> Self:
        """Pack a matrix whose memory may be overwritten."""
        return cls.pack(weight_OI)

    def __init__(self, tensors: tuple[Tensor, ...], n_out: int, n_in: int, n_skip: int = 0) -> None:
        self.tensors, self.n_out, self.n_in, self.n_skip = tensors, n_out, n_in, n_skip
        self.n_panels = -(-(n_skip + n_out) // self.width)

    @abstractmethod
    def product_few(self, x_MI: Tensor) -> Tensor:
        """Return all panels' outputs [M, C·P] of a few rows."""

    @abstractmethod
    def unpack(self, tensors: tuple[Tensor, ...]) -> Tensor:
        """Return panels [c, I, P] as float32, from the tensors that encode them."""

    @abstractmethod
    def slice_panels(self, start: int, stop: int) -> tuple[Tensor, ...]:
        """Return views of the tensors of panels start … stop − 1."""

    def part(self, start: int, n_out: int) -> Self:
        """Return the matrix of the outputs from `start` on, in the same memory."""
        first, n_skip = divmod(self.n_skip + start, self.width)
        return type(self)(self.slice_panels(first, first - (-(n_skip + n_out) // self.width)), n_out, self.n_in, n_skip)

    def product(self, x_MI: Tensor) -> Tensor:
        """Return the product [M, O] with any number of rows; bfloat16 where the kernel for few rows gives that."""
        y_MZ = self.product_few(x_MI) if len(x_MI) <= FEW_ROWS else self._product_many(x_MI)
        return y_MZ if y_MZ.shape[1] == self.n_out else y_MZ[:, self.n_skip : self.n_skip + self.n_out]

    def rows(self, outputs: Tensor) -> Tensor:
        """Return the rows [..., I] of these outputs as float32: rows of a token table."""
        return self.dense()[outputs]

    def dense(self) -> Tensor:
        """Return the matrix [O, I]."""
        return self.unpack(self.tensors).transpose(1, 2).reshape(-1, self.n_in)[self.n_skip : self.n_skip + self.n_out]

    def _product_many(self, x_MI: Tensor) -> Tensor:
        if len(x_MI) < MANY_ROWS:
            return rows_from_panels(
                torch.bmm(x_MI.float().expand(self.n_panels, *x_MI.shape), self.unpack(self.tensors))
            )
        x_MI = x_MI.to(self.product_dtype)
        y_MZ = x_MI.new_empty(len(x_MI), self.n_panels * self.width)
        for start in range(0, self.n_panels, BLOCK_OUTPUTS // self.width):
            panels_cIP = self.unpack(self.slice_panels(start, start + BLOCK_OUTPUTS // self.width))
            weight_IcP = x_MI.new_empty(self.n_in, len(panels_cIP), self.width)
            weight_Iz = weight_IcP.copy_(panels_cIP.transpose(0, 1)).view(self.n_in, -1)
            torch.mm(x_MI, weight_Iz, out=y_MZ.narrow(1, start * self.width, weight_Iz.shape[1]))
        return y_MZ.float()

    @property
    def nbytes(self) -> int:
        """Bytes in memory, padding of the last panel included."""
        return sum(tensor.nbytes for tensor in self.tensors)


def split_panels(weight_OI: Tensor, width: int) -> Tensor:
    """Return a matrix as panels [C, I, P], the last one padded with zeros."""
    n_out, n_in = weight_OI.shape
    padded_OI = weight_OI.detach().float()
    if n_out % width:
        padded_OI = F.pad(padded_OI, (0, 0, 0, -n_out % width))
    return padded_OI.reshape(-1, width, n_in).transpose(1, 2)


def rows_from_panels(y_CMP: Tensor) -> Tensor:
    """Return panel outputs [C, M, P] as rows [M, C·P]."""
    n_panels, n_rows, width = y_CMP.shape
    if n_rows == 1:
        return y_CMP.view(1, -1)
    return y_CMP.transpose(0, 1).reshape(n_rows, n_panels * width)


@lru_cache(maxsize=64)
def bags(n_panels: int, n_rows: int, n_in: int) -> tuple[Tensor, Tensor]:
    """Return (indices, offsets) of an embedding bag for each panel and row: all of the panel's columns."""
    with torch.inference_mode(False):
        columns = torch.arange(n_panels * n_in, dtype=torch.int32).view(n_panels, 1, n_in)
        offsets = torch.arange(n_panels * n_rows, dtype=torch.int32) * n_in
        return columns.expand(n_panels, n_rows, n_in).flatten().contiguous(), offsets
