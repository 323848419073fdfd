"""A quantized matrix, or a stack of them, in a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from archcalc.formats.file_tensor import FileTensor
from archcalc.formats.layouts import Layout
from archcalc.formats.packings import PackingName


@dataclass(frozen=True)
class QuantizedTensor(FileTensor):
    """A weight [..., out, in] that is stored as several tensors. `dtype` is the name of its format.

    `facts`: what a part states about the others, such as the shape. `n_bytes`: of all parts.
    """

    packing: PackingName
    layout: Layout
    parts: Mapping[str, FileTensor]
    facts: Mapping[str, Any]

    @property
    def pieces(self) -> tuple[FileTensor, ...]:
        """Return the parts."""
        return tuple(self.parts.values())

    def matrix(self, index: int) -> QuantizedTensor:
        """Return a matrix of the stack; a part without an axis for the stack is shared."""
        n = self.shape[0]
        parts = {
            role: _slice(part, index, n) if part.shape and part.shape[0] == n else part
            for role, part in self.parts.items()
        }
        return replace(self, shape=self.shape[1:], n_bytes=_n_bytes(parts), parts=parts)


def quantized_tensor(
    weight: str,
    shape: tuple[int, ...],
    format_name: str,
    packing: PackingName,
    layout: Layout,
    parts: Mapping[str, FileTensor],
    facts: Mapping[str, Any],
) -> QuantizedTensor:
    """Return the weight of this name and shape that these parts store."""
    file = next(iter(parts.values())).file
    return QuantizedTensor(weight, file, format_name, shape, 0, _n_bytes(parts), packing, layout, parts, facts)


def _slice(part: FileTensor, index: int, n: int) -> FileTensor:
    size = part.n_bytes // n
    return replace(part, shape=part.shape[1:], start=part.start + index * size, n_bytes=size)


def _n_bytes(parts: Mapping[str, FileTensor]) -> int:
    return sum(part.n_bytes for part in parts.values())
