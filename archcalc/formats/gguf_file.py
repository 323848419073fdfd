"""Headers of GGUF files: metadata as plain Python values, and the position of each tensor, without tensor libraries.

Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Every length is checked against the remaining bytes
of the file before allocation, so that a header cannot need more memory than the size of its file.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

from archcalc.errors import InputError, shown
from archcalc.formats.file_tensor import FileTensor
from archcalc.formats.gguf_types import FILE_BLOCKS
from archcalc.words import msg

VERSIONS = (2, 3)
MAX_AXES = 4
# Numbers in the format: kinds of values, and types of tensors (ggml.h, enum ggml_type).
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_FLOAT32, _STRING, _ARRAY = 6, 8, 9
TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 9: "Q8_1", 10: "Q2_K", 11: "Q3_K",
    12: "Q4_K", 13: "Q5_K", 14: "Q6_K", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S",
    20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64",
    29: "IQ1_M", 30: "BF16", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4", 40: "NVFP4", 41: "Q1_0",
}  # fmt: skip


@dataclass(frozen=True)
class Header:
    """The header of a GGUF file. Shapes are in PyTorch's order: the last axis is contiguous.

    `float_lists`: the position of each list of 32-bit floats in the metadata, by key.
    """

    metadata: dict[str, Any]
    tensors: dict[str, FileTensor]
    float_lists: dict[str, FileTensor] = field(default_factory=dict)


def read_header(path: Path) -> Header:
    """Return the header of a file. Raises InputError that names the file, and the key or tensor if one is invalid."""
    try:
        with open(path, "rb") as file:
            if file.read(4) != b"GGUF":
                raise InputError(msg("does not begin with GGUF"), allowed=msg("a GGUF file"))
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _header(_ByteReader(data), path)
    except OSError as error:
        raise InputError(msg("cannot be read ({strerror})", strerror=error.strerror), file=str(path)) from None
    except InputError as error:
        raise error.within(str(path)) from None


def read_numbers(tensor: FileTensor) -> tuple[float, ...]:
    """Return the elements of a small F32 tensor. Raises InputError that names it if it cannot be read as F32."""
    where, file = shown(tensor.name, 200), str(tensor.file)
    if tensor.dtype != "F32":
        raise InputError(msg("is stored as {dtype}", dtype=tensor.dtype), where=where, allowed="F32", file=file)
    try:
        with open(tensor.file, "rb") as handle:
            handle.seek(tensor.start)
            data = handle.read(tensor.n_bytes)
    except OSError as error:
        raise InputError(msg("cannot be read ({strerror})", strerror=error.strerror), where=where, file=file) from None
    if len(data) < tensor.n_bytes:
        raise InputError(msg("the file has become shorter"), where=where, file=file)
    return struct.unpack(f"<{len(data) // 4}f", data)


class _ByteReader:
    """Reads values from the bytes of a file, in order."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data, self.at, self.size = data, 4, len(data)

    def unpack(self, code: str, count: int = 1) -> tuple[Any, ...]:
        """Return the next `count` numbers."""
        n_bytes = struct.calcsize(f"<{code}") * count
        if n_bytes > self.size - self.at:
            raise InputError(
                msg(
                    "is truncated: it needs {n_bytes} bytes at byte {at} of {size}",
                    n_bytes=shown(n_bytes),
                    at=self.at,
                    size=self.size,
                )
            )
        values = struct.unpack_from(f"<{count}{code}", self.data, self.at)
        self.at += n_bytes
        return values

    def number(self, code: str) -> Any:
        """Return the next number."""
        return self.unpack(code)[0]

    def text(self) -> str:
        """Return the next text: a length, then UTF-8."""
        n_bytes = self.number("Q")
        self.check_remaining(n_bytes, 1, "a text")
        self.at += n_bytes
        return str(self.data[self.at - n_bytes : self.at], "utf-8", "replace")

    def value(self, where: str, kind: int) -> Any:
        """Return the next value, of this kind."""
        if kind in _SCALARS:
            return self.number(_SCALARS[kind])
        if kind == _STRING:
            return self.text()
        if kind != _ARRAY:
            raise InputError(
                msg("has the unknown kind {kind}", kind=kind), where=where, allowed=msg("the kinds 0 to 12")
            )
        inner, count = self.number("I"), self.number("Q")
        if inner in _SCALARS:
            self.check_remaining(count, struct.calcsize(_SCALARS[inner]), where)
            return list(self.unpack(_SCALARS[inner], count))
        if inner != _STRING:
            raise InputError(
                msg("is a list of kind {inner}", inner=inner), where=where, allowed=msg("lists of numbers or texts")
            )
        self.check_remaining(count, 8, where)
        return [self.text() for _ in range(count)]

    def check_remaining(self, count: int, n_bytes: int, where: str) -> None:
        """Raise InputError if fewer than `count` · `n_bytes` bytes remain."""
        if count * n_bytes > self.size - self.at:
            raise InputError(
                msg("{count} entries do not fit in {size} bytes", count=shown(count), size=self.size), where=where
            )


def _header(data: _ByteReader, path: Path) -> Header:
    version = data.number("I")
    if version not in VERSIONS:
        raise InputError(msg("has GGUF version {version}", version=version), allowed=", ".join(map(str, VERSIONS)))
    n_tensors, n_keys = data.unpack("Q", 2)
    data.check_remaining(n_keys, 13, "metadata")
    data.check_remaining(n_tensors, 25, "tensors")
    metadata: dict[str, Any] = {}
    float_lists: dict[str, FileTensor] = {}
    for _ in range(n_keys):
        key = data.text()
        if key in metadata:
            raise InputError(msg("is repeated"), where=shown(key, 200))
        kind, start = data.number("I"), data.at
        value = metadata[key] = data.value(str(shown(key, 200)), kind)
        if kind == _ARRAY and struct.unpack_from("<I", data.data, start) == (_FLOAT32,):
            float_lists[key] = FileTensor(key, path, "F32", (len(value),), data.at - 4 * len(value), 4 * len(value))
    infos = [_info(data) for _ in range(n_tensors)]
    alignment = metadata.get("general.alignment", 32)
    if type(alignment) is not int or not 0 < alignment <= 2**20 or alignment & (alignment - 1):
        raise InputError(
            msg("found {found}", found=shown(alignment)),
            where="general.alignment",
            allowed=msg("a power of two"),
        )
    start = -(-data.at // alignment) * alignment
    tensors: dict[str, FileTensor] = {}
    for name, shape, kind, offset in infos:
        if name in tensors:
            raise InputError(msg("is repeated"), where=shown(name, 200))
        tensors[name] = _file_tensor(name, path, shape, kind, start + offset, data.size)
    return Header(metadata, _without_overlap(tensors), float_lists)


def _info(data: _ByteReader) -> tuple[str, tuple[int, ...], int, int]:
    name, n_axes = data.text(), data.number("I")
    if n_axes > MAX_AXES:
        raise InputError(
            msg("has {n_axes} axes", n_axes=n_axes),
            where=shown(name, 200),
            allowed=msg("at most {max_axes}", max_axes=MAX_AXES),
        )
    return name, _without_unit_axes(data.unpack("Q", n_axes)[::-1]), data.number("I"), data.number("Q")


def _without_unit_axes(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a shape of four axes without those of length 1 in front, which llama.cpp's quantizer drops as well."""
    first = next((axis for axis, length in enumerate(shape[:-1]) if length != 1), len(shape) - 1)
    return shape[first:] if len(shape) == MAX_AXES else shape


def _file_tensor(name: str, path: Path, shape: tuple[int, ...], kind: int, start: int, size: int) -> FileTensor:
    where = shown(name, 200)
    if kind not in TYPES:
        raise InputError(
            msg("has the unsupported type {kind}", kind=kind), where=where, allowed=", ".join(TYPES.values())
        )
    block = FILE_BLOCKS[TYPES[kind]]
    if not shape or shape[-1] % block.block:
        raise InputError(
            msg("has shape {shape}", shape=list(shape)),
            where=where,
            allowed=msg("rows of whole blocks of {block}", block=block.block),
        )
    n_bytes = prod(shape) // block.block * block.size
    if start + n_bytes > size:
        raise InputError(
            msg(
                "is at bytes {start} to {end}, but the file has {size}: it is truncated or broken",
                start=shown(start),
                end=shown(start + n_bytes),
                size=size,
            ),
            where=where,
        )
    return FileTensor(name, path, TYPES[kind], shape, start, n_bytes)


def _without_overlap(tensors: dict[str, FileTensor]) -> dict[str, FileTensor]:
    end = 0
    for tensor in sorted(tensors.values(), key=lambda tensor: (tensor.start, tensor.n_bytes)):
        if tensor.start < end:
            raise InputError(msg("overlaps another tensor"), where=shown(tensor.name, 200))
        end = tensor.start + tensor.n_bytes
    return tensors
