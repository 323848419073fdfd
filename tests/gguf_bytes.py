"""A GGUF file's bytes from Python values, written with `struct` alone: good files without numpy, and broken ones."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from math import prod

Value = int | float | str | list[int]
ALIGNMENT = 32


def gguf_bytes(metadata: Mapping[str, Value], tensors: Mapping[str, tuple[Sequence[int], Sequence[float]]]) -> bytes:
    """A whole file: ints as i32, floats as f32, lists of ints as arrays.

    Tensors of a shape (PyTorch's order) are in F32, `()` for zeros.
    """
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    head += b"".join(_text(key) + _value(value) for key, value in metadata.items())
    body = b""
    for name, (shape, numbers) in tensors.items():
        head += _text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *reversed(shape), 0, len(body))
        body = _padded(body + struct.pack(f"<{prod(shape)}f", *(numbers or [0.0] * prod(shape))))
    return _padded(head) + body


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % ALIGNMENT)


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _value(value: Value) -> bytes:
    if isinstance(value, str):
        return struct.pack("<I", 8) + _text(value)
    if isinstance(value, list):
        return struct.pack(f"<IIQ{len(value)}i", 9, 5, len(value), *value)
    return struct.pack("<If", 6, value) if isinstance(value, float) else struct.pack("<Ii", 5, value)
