"""Headers of GGUF files: metadata as plain Python values, and where each tensor lies. No tensor library is needed.

Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Every length is checked against the bytes that are
left in the file before anything is made of it, so that no header can ask for more memory than its own size.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from archcalc.errors import InputError, shown
from archcalc.formats.file_tensor import FileTensor
from archcalc.formats.gguf_types import BLOCKS
from archcalc.words import msg

VERSIONS = (2, 3)
MAX_AXES = 4
# Numbers of the format: kinds of values, and of tensors (ggml.h, enum ggml_type).
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 10: "Q2_K", 11: "Q3_K", 12: "Q4_K",
    13: "Q5_K", 14: "Q6_K", 20: "IQ4_NL", 23: "IQ4_XS", 30: "BF16", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4",
}  # fmt: skip


@dataclass(frozen=True)
class Header:
    """What stands before a GGUF file's weights. Shapes are as PyTorch says them: the last axis lies side by side."""

    metadata: dict[str, Any]
    tensors: dict[str, FileTensor]


def read_header(path: Path) -> Header:
    """The header of a file. Raises InputError naming the file, and the key or tensor where it is one's fault."""
    try:
        with open(path, "rb") as file:
            if file.read(4) != b"GGUF":
                raise InputError(msg("does not begin with GGUF"), allowed=msg("a GGUF file"))
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _header(_Bytes(data), path)
    except OSError as error:
        raise InputError(msg("cannot be read ({strerror})", strerror=error.strerror), file=str(path)) from None
    except InputError as error:
        raise error.within(str(path)) from None


def read_numbers(stored: FileTensor) -> tuple[float, ...]:
    """All of a small tensor that is stored as F32. Raises InputError naming it if it is not, or cannot be read."""
    where, file = shown(stored.name, 200), str(stored.file)
    if stored.dtype != "F32":
        raise InputError(msg("is stored as {dtype}", dtype=stored.dtype), where=where, allowed="F32", file=file)
    try:
        with open(stored.file, "rb") as opened:
            opened.seek(stored.start)
            data = opened.read(stored.n_bytes)
    except OSError as error:
        raise InputError(msg("cannot be read ({strerror})", strerror=error.strerror), where=where, file=file) from None
    if len(data) < stored.n_bytes:
        raise InputError(msg("the file has become shorter"), where=where, file=file)
    return struct.unpack(f"<{len(data) // 4}f", data)


class _Bytes:
    """A file's bytes, read from the front."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data, self.at, self.size = data, 4, len(data)

    def take(self, code: str, count: int = 1) -> tuple[Any, ...]:
        """So many numbers."""
        n_bytes = struct.calcsize(f"<{code}") * count
        if n_bytes > self.size - self.at:
            raise InputError(
                msg(
                    "is cut short: {n_bytes} bytes are wanted at byte {at} of {size}",
                    n_bytes=shown(n_bytes),
                    at=self.at,
                    size=self.size,
                )
            )
        found = struct.unpack_from(f"<{count}{code}", self.data, self.at)
        self.at += n_bytes
        return found

    def number(self, code: str) -> Any:
        """One number."""
        return self.take(code)[0]

    def text(self) -> str:
        """A length, then UTF-8."""
        n_bytes = self.number("Q")
        self.room(n_bytes, 1, "a text")
        self.at += n_bytes
        return str(self.data[self.at - n_bytes : self.at], "utf-8", "replace")

    def value(self, where: str, kind: int) -> Any:
        """A value of a kind."""
        if kind in _SCALARS:
            return self.number(_SCALARS[kind])
        if kind == _STRING:
            return self.text()
        if kind != _ARRAY:
            raise InputError(msg("is of kind {kind}", kind=kind), where=where, allowed=msg("the kinds 0 to 12"))
        inner, count = self.number("I"), self.number("Q")
        if inner in _SCALARS:
            self.room(count, struct.calcsize(_SCALARS[inner]), where)
            return list(self.take(_SCALARS[inner], count))
        if inner != _STRING:
            raise InputError(
                msg("is a list of kind {inner}", inner=inner), where=where, allowed=msg("lists of numbers or texts")
            )
        self.room(count, 8, where)
        return [self.text() for _ in range(count)]

    def room(self, count: int, each: int, what: str) -> None:
        """Raise InputError unless so many things of at least so many bytes may be left."""
        if count * each > self.size - self.at:
            raise InputError(
                msg("{count} entries cannot stand in {size} bytes", count=shown(count), size=self.size), where=what
            )


def _header(data: _Bytes, path: Path) -> Header:
    version = data.number("I")
    if version not in VERSIONS:
        raise InputError(msg("is of GGUF version {version}", version=version), allowed=", ".join(map(str, VERSIONS)))
    n_tensors, n_keys = data.take("Q", 2)
    data.room(n_keys, 13, "metadata")
    data.room(n_tensors, 25, "tensors")
    metadata: dict[str, Any] = {}
    for _ in range(n_keys):
        key = data.text()
        if key in metadata:
            raise InputError(msg("stands there twice"), where=shown(key, 200))
        metadata[key] = data.value(str(shown(key, 200)), data.number("I"))
    infos = [_info(data) for _ in range(n_tensors)]
    alignment = metadata.get("general.alignment", 32)
    if type(alignment) is not int or not 0 < alignment <= 2**20 or alignment & (alignment - 1):
        raise InputError(
            msg("found {alignment}", alignment=shown(alignment)),
            where="general.alignment",
            allowed=msg("a power of two"),
        )
    start = -(-data.at // alignment) * alignment
    tensors: dict[str, FileTensor] = {}
    for name, shape, kind, offset in infos:
        if name in tensors:
            raise InputError(msg("stands there twice"), where=shown(name, 200))
        tensors[name] = _stored(name, path, shape, kind, start + offset, data.size)
    return Header(metadata, _apart(tensors))


def _info(data: _Bytes) -> tuple[str, tuple[int, ...], int, int]:
    name, n_axes = data.text(), data.number("I")
    if n_axes > MAX_AXES:
        raise InputError(
            msg("has {n_axes} axes", n_axes=n_axes),
            where=shown(name, 200),
            allowed=msg("at most {MAX_AXES}", MAX_AXES=MAX_AXES),
        )
    return name, data.take("Q", n_axes)[::-1], data.number("I"), data.number("Q")


def _stored(name: str, path: Path, shape: tuple[int, ...], kind: int, start: int, size: int) -> FileTensor:
    where = shown(name, 200)
    if kind not in TYPES:
        raise InputError(
            msg("is of type {kind}, which is not read", kind=kind), where=where, allowed=", ".join(TYPES.values())
        )
    block = BLOCKS[TYPES[kind]]
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
                "lies at bytes {start} to {start_2}, the file has {size}: it is cut short or broken",
                start=shown(start),
                start_2=shown(start + n_bytes),
                size=size,
            ),
            where=where,
        )
    return FileTensor(name, path, TYPES[kind], shape, start, n_bytes)


def _apart(tensors: dict[str, FileTensor]) -> dict[str, FileTensor]:
    end = 0
    for one in sorted(tensors.values(), key=lambda tensor: (tensor.start, tensor.n_bytes)):
        if one.start < end:
            raise InputError(msg("overlaps another"), where=shown(one.name, 200))
        end = one.start + one.n_bytes
    return tensors
