"""A matrix as panels of a few outputs each: the layout that one row of inputs reads at the speed of memory.

A row times a matrix is a weighted sum of the matrix's columns, so PyTorch's embedding bag, whose kernel adds up rows of
a table with a weight for each, computes it: the table is a panel's columns, the weights are the inputs.

Axes: M rows of inputs, I inputs, O outputs, C panels, P outputs of a panel.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import lru_cache
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

FEW = 2  # rows that the kernel for one takes one by one; more go through a product of matrices
SOME = 128  # rows from which panels are laid side by side, as many at a time as stay in a cache: a copy, a wide product
AT_ONCE = 512  # outputs of those


class Panels(ABC):
    """A matrix [O, I] in panels [C, I, P]: the outputs from `skip` on are read, and zeros fill up the last panel."""

    stored: str
    width: int
    group = 1  # the number of inputs is a multiple of it
    wide = torch.float32  # the dtype of a product of SOME rows or more

    @classmethod
    @abstractmethod
    def of(cls, weight_OI: Tensor) -> Self:
        """The matrix [O, I], packed."""

    @classmethod
    def taking(cls, weight_OI: Tensor) -> Self:
        """The same of a matrix that nothing else needs any more."""
        return cls.of(weight_OI)

    def __init__(self, tensors: tuple[Tensor, ...], n_out: int, n_in: int, skip: int = 0) -> None:
        self.tensors, self.n_out, self.n_in, self.skip = tensors, n_out, n_in, skip
        self.n_panels = -(-(skip + n_out) // self.width)

    @abstractmethod
    def few(self, x_MI: Tensor) -> Tensor:
        """[M, C·P] of a few rows: all the panels' outputs."""

    @abstractmethod
    def opened(self, tensors: tuple[Tensor, ...]) -> Tensor:
        """Some panels [c, I, P] as float32, of the tensors that hold them."""

    @abstractmethod
    def between(self, start: int, stop: int) -> tuple[Tensor, ...]:
        """The tensors of panels start … stop − 1: views."""

    def part(self, start: int, n_out: int) -> Self:
        """The matrix of the outputs from `start` on, in the same memory."""
        first, skip = divmod(self.skip + start, self.width)
        return type(self)(self.between(first, first - (-(skip + n_out) // self.width)), n_out, self.n_in, skip)

    def product(self, x_MI: Tensor) -> Tensor:
        """[M, O] of any number of rows; in bfloat16 where the kernel for few gives that."""
        y_MZ = self.few(x_MI) if len(x_MI) <= FEW else self._many(x_MI)
        return y_MZ if y_MZ.shape[1] == self.n_out else y_MZ[:, self.skip : self.skip + self.n_out]

    def rows(self, outputs: Tensor) -> Tensor:
        """The matrix' rows [..., I] of these outputs, as float32: a token table's rows."""
        return self.dense()[outputs]

    def dense(self) -> Tensor:
        """The matrix [O, I] that the panels stand for."""
        return self.opened(self.tensors).transpose(1, 2).reshape(-1, self.n_in)[self.skip : self.skip + self.n_out]

    def _many(self, x_MI: Tensor) -> Tensor:
        if len(x_MI) < SOME:
            return laid_out(torch.bmm(x_MI.float().expand(self.n_panels, *x_MI.shape), self.opened(self.tensors)))
        x_MI = x_MI.to(self.wide)
        y_MZ = x_MI.new_empty(len(x_MI), self.n_panels * self.width)
        for start in range(0, self.n_panels, AT_ONCE // self.width):
            panels_cIP = self.opened(self.between(start, start + AT_ONCE // self.width))
            weight_IcP = x_MI.new_empty(self.n_in, len(panels_cIP), self.width)
            weight_Iz = weight_IcP.copy_(panels_cIP.transpose(0, 1)).view(self.n_in, -1)
            torch.mm(x_MI, weight_Iz, out=y_MZ.narrow(1, start * self.width, weight_Iz.shape[1]))
        return y_MZ.float()

    @property
    def nbytes(self) -> int:
        """The bytes that it takes, what fills up the last panel included."""
        return sum(tensor.nbytes for tensor in self.tensors)


def cut(weight_OI: Tensor, width: int) -> Tensor:
    """The panels [C, I, P] of a matrix, zeros where there are no more outputs."""
    n_out, n_in = weight_OI.shape
    filled_OI = weight_OI.detach().float()
    if n_out % width:
        filled_OI = F.pad(filled_OI, (0, 0, 0, -n_out % width))
    return filled_OI.reshape(-1, width, n_in).transpose(1, 2)


def laid_out(y_CMP: Tensor) -> Tensor:
    """[M, C·P] of what each panel gives."""
    n_panels, n_rows, width = y_CMP.shape
    if n_rows == 1:
        return y_CMP.view(1, -1)
    return y_CMP.transpose(0, 1).reshape(n_rows, n_panels * width)


@lru_cache(maxsize=64)
def bags(n_panels: int, n_rows: int, n_in: int) -> tuple[Tensor, Tensor]:
    """(indices, offsets) of an embedding bag for each panel and row: all of the panel's columns."""
    with torch.inference_mode(False):
        columns = torch.arange(n_panels * n_in, dtype=torch.int32).view(n_panels, 1, n_in)
        offsets = torch.arange(n_panels * n_rows, dtype=torch.int32) * n_in
        return columns.expand(n_panels, n_rows, n_in).flatten().contiguous(), offsets
