"""Stored numbers through a memory map, of which few bytes are in memory at once."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch
from torch import Tensor

from archcalc.errors import InputError, shown
from archcalc.formats.element_types import ELEMENT_TYPES, ElementName
from archcalc.formats.file_tensor import FileTensor
from archcalc.nn.dtypes import torch_dtype
from archcalc.words import msg

CHUNK_BYTES = 1 << 20
# What is read as it lies in a file, by the file's word for it.
PLAIN: tuple[ElementName, ...] = ("fp64", "fp32", "fp16", "bf16")
DTYPES = {ELEMENT_TYPES[name].safetensors: torch_dtype(name) for name in PLAIN}


class Files:
    """Maps of the files that are read."""

    def __init__(self) -> None:
        self._maps: dict[object, mmap.mmap] = {}

    def map(self, stored: FileTensor) -> mmap.mmap:
        """The map of a tensor's file. Private and writable, which is what a tensor over it asks for; nothing writes."""
        if stored.file not in self._maps:
            try:
                with open(stored.file, "rb") as file:
                    self._maps[stored.file] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
            except (OSError, ValueError) as error:
                raise InputError(msg("cannot be read ({error})", error=error), file=str(stored.file)) from None
        found = self._maps[stored.file]
        if stored.start + stored.n_bytes > len(found):
            raise InputError(msg("the file has become shorter"), where=shown(stored.name, 200), file=str(stored.file))
        return found

    def forget(self, stored: FileTensor) -> None:
        """Let go of the pages of a tensor that were read: what is mapped counts as memory in use."""
        first = stored.start // mmap.PAGESIZE * mmap.PAGESIZE
        if stored.n_bytes and hasattr(mmap, "MADV_DONTNEED"):
            self.map(stored).madvise(mmap.MADV_DONTNEED, first, stored.start + stored.n_bytes - first)

    def close(self) -> None:
        """Unmap everything that no tensor stands on."""
        for found in self._maps.values():
            with suppress(BufferError):
                found.close()


@contextmanager
def files() -> Iterator[Files]:
    """Maps that are closed at the end."""
    opened = Files()
    try:
        yield opened
    finally:
        opened.close()


def whole(opened: Files, stored: FileTensor) -> Tensor:
    """A plainly stored tensor as it lies in its file: nothing is read before it is used."""
    dtype = DTYPES[stored.dtype]
    if not stored.n_bytes:
        return torch.empty(stored.shape, dtype=dtype)
    data = memoryview(opened.map(stored))[stored.start : stored.start + stored.n_bytes]
    return torch.frombuffer(data, dtype=dtype).view(stored.shape)


def chunks(length: int, n_bytes: int) -> Iterator[slice]:
    """Slices of an axis of this length, each of a few of those bytes."""
    step = max(1, CHUNK_BYTES * length // max(1, n_bytes))
    for first in range(0, length, step):
        yield slice(first, min(first + step, length))


def check_same(opened: Files, one: FileTensor, other: FileTensor) -> None:
    """Raise InputError unless two tensors of one shape and dtype are equal to the last bit."""
    a, b = opened.map(one), opened.map(other)
    for part in chunks(one.n_bytes, one.n_bytes):
        ours = a[one.start + part.start : one.start + part.stop]
        if ours != b[other.start + part.start : other.start + part.stop]:
            where = shown(one.name, 200)
            raise InputError(
                msg("is tied to {name} and differs from it", name=shown(other.name, 200)),
                where=where,
                file=str(one.file),
            )
    for stored in (one, other):
        opened.forget(stored)
