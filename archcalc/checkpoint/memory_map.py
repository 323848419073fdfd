"""Read stored tensors through memory maps, keeping few bytes in memory at once."""

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
# The kernel maps more than the page that is read: up to a huge page around it.
AROUND_BYTES = 2 << 20
# Element types that need no dequantization, by their safetensors names.
PLAIN_DTYPES: tuple[ElementName, ...] = ("fp64", "fp32", "fp16", "bf16")
DTYPES = {ELEMENT_TYPES[name].safetensors: torch_dtype(name) for name in PLAIN_DTYPES}
# Of tables of integers, which are no weights.
INTEGERS = {"I64": torch.int64, "I32": torch.int32}


class FileMaps:
    """Memory maps of checkpoint files, opened when first used."""

    def __init__(self) -> None:
        self._maps: dict[object, mmap.mmap] = {}

    def map(self, stored: FileTensor) -> mmap.mmap:
        """Return the map of a tensor's file; InputError if it cannot be read or became shorter."""
        if stored.file not in self._maps:
            try:
                with open(stored.file, "rb") as file:
                    # torch.frombuffer needs a writable map; nothing writes to this private copy.
                    self._maps[stored.file] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
            except (OSError, ValueError) as error:
                raise InputError(msg("cannot be read ({error})", error=error), file=str(stored.file)) from None
        file_map = self._maps[stored.file]
        if stored.start + stored.n_bytes > len(file_map):
            raise InputError(msg("the file has become shorter"), where=shown(stored.name, 200), file=str(stored.file))
        return file_map

    def release(self, stored: FileTensor) -> None:
        """Release the pages of a tensor that was read: mapped pages count as memory in use."""
        for piece in stored.pieces:
            if piece.n_bytes and hasattr(mmap, "MADV_DONTNEED"):
                file_map = self.map(piece)
                first = max(0, piece.start - AROUND_BYTES) // mmap.PAGESIZE * mmap.PAGESIZE
                last = min(len(file_map), piece.start + piece.n_bytes + AROUND_BYTES)
                file_map.madvise(mmap.MADV_DONTNEED, first, last - first)

    def close(self) -> None:
        """Close all maps but those that tensors still use."""
        for file_map in self._maps.values():
            with suppress(BufferError):
                file_map.close()


@contextmanager
def file_maps() -> Iterator[FileMaps]:
    """Yield maps that are closed at the end."""
    maps = FileMaps()
    try:
        yield maps
    finally:
        maps.close()


def stored_tensor(maps: FileMaps, stored: FileTensor) -> Tensor:
    """Return a tensor over the map of its file; nothing is read before it is used."""
    dtype = (DTYPES | INTEGERS)[stored.dtype]
    if not stored.n_bytes:
        return torch.empty(stored.shape, dtype=dtype)
    data = memoryview(maps.map(stored))[stored.start : stored.start + stored.n_bytes]
    return torch.frombuffer(data, dtype=dtype).view(stored.shape)


def chunks(length: int, n_bytes: int) -> Iterator[slice]:
    """Yield slices of an axis of this length, each of about `CHUNK_BYTES` of `n_bytes`."""
    step = max(1, CHUNK_BYTES * length // max(1, n_bytes))
    for first in range(0, length, step):
        yield slice(first, min(first + step, length))


def check_equal(maps: FileMaps, one: FileTensor, other: FileTensor) -> None:
    """Raise InputError unless two tensors of one shape and dtype have equal bytes."""
    a, b = maps.map(one), maps.map(other)
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
        maps.release(stored)


def check_zero(maps: FileMaps, stored: FileTensor) -> None:
    """Raise InputError unless all elements are zero."""
    if stored.dtype not in DTYPES or stored_tensor(maps, stored).any():
        raise InputError(
            msg("is not zero, and this architecture does not have it"),
            where=shown(stored.name, 200),
            file=str(stored.file),
        )
