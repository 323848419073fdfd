"""The tensors that a forward pass makes, as named axes: what a ledger's functions hand from one to the next."""

from __future__ import annotations

import msgspec

from archcalc.formats.element_types import ElementName
from archcalc.ledger.algebra import Poly


class Tensor(msgspec.Struct, frozen=True, eq=False):
    """A tensor with storage of its own: two of them are never equal, however alike.

    `once`: it serves every layer of its stack. A `view` shares the storage of the tensor that it is `of`.
    """

    label: str
    axes: tuple[Poly, ...]
    dtype: ElementName
    once: bool = False
    of: Tensor | None = None

    @property
    def storage(self) -> Tensor:
        """The tensor whose memory this is."""
        return self.of or self

    def new(self, label: str, *axes: Poly, dtype: ElementName | None = None) -> Tensor:
        """A new tensor made from this one, with its axes and its dtype unless told others."""
        return Tensor(label, axes or self.axes, dtype or self.dtype)

    def as_dtype(self, dtype: ElementName) -> Tensor:
        """A copy in this dtype; the tensor itself, where it has it."""
        return self if dtype == self.dtype else Tensor(self.label, self.axes, dtype)

    def view(self, *axes: Poly) -> Tensor:
        """A part of it, in the same memory."""
        return Tensor(self.label, axes, self.dtype, self.once, self.storage)
