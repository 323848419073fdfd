"""Tensors in a file, from its checked header."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class FileTensor:
    """A tensor in a file: `n_bytes` bytes from byte `start`. `dtype` is the name in the file's format."""

    name: str
    file: Path
    dtype: str
    shape: tuple[int, ...]
    start: int
    n_bytes: int

    @property
    def pieces(self) -> tuple[FileTensor, ...]:
        """Return the tensors of the file of which this one is made."""
        return (self,)
