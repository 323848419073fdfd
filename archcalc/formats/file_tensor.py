"""Where a tensor's bytes lie in a file: what a header says, checked, before anything of it is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class FileTensor:
    """A tensor in a file: `dtype` in that format's own word, `n_bytes` from byte `start` on."""

    name: str
    file: Path
    dtype: str
    shape: tuple[int, ...]
    start: int
    n_bytes: int
