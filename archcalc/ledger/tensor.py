"""Symbolic tensors: the inputs and outputs of ledger functions, as named axes."""

from __future__ import annotations

import msgspec

from archcalc.formats.element_types import ElementName
from archcalc.ledger.algebra import Poly


class Tensor(msgspec.Struct, frozen=True, eq=False):
    """A tensor with its own storage: two tensors are never equal.

    `is_shared`: it serves every layer of its stack. `is_stored`: it is a weight or a buffer, which is no activation. A
    view shares the storage of its `base`.
    """

    label: str
    axes: tuple[Poly, ...]
    dtype: ElementName
    is_shared: bool = False
    base: Tensor | None = None
    is_stored: bool = False

    @property
    def storage(self) -> Tensor:
        """Return the tensor that owns the memory."""
        return self.base or self

    def new(self, label: str, *axes: Poly, dtype: ElementName | None = None) -> Tensor:
        """Return a new tensor, by default with the axes and dtype of this one."""
        return Tensor(label, axes or self.axes, dtype or self.dtype)

    def as_dtype(self, dtype: ElementName) -> Tensor:
        """Return a copy in this dtype; the tensor itself if it already has it."""
        return self if dtype == self.dtype else Tensor(self.label, self.axes, dtype)

    def view(self, *axes: Poly, label: str = "") -> Tensor:
        """Return a view of it with these axes, in the same memory."""
        return Tensor(label or self.label, axes, self.dtype, self.is_shared, self.storage)
