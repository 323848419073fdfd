"""How a tensor of a given shape is laid out in bytes: one record for each kind of layout, one function for each record.

A shape is `[..., out, in]`, outermost first; a row is the last axis. The axes before the last two stack matrices, of
which each is laid out on its own. Every figure is an exact int; what does not divide is rounded up where the library
does so (`ceil` below) and refused where it does not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from archcalc.errors import InputError
from archcalc.words import msg

Shape = Sequence[int]


class ByteCount(msgspec.Struct, frozen=True):
    """What a tensor takes: the weights' own bits, their scales, and all else (zero points, minima, indices, tables)."""

    payload: int
    scales: int = 0
    other: int = 0

    @property
    def overhead(self) -> int:
        """All that is not the weights' own bits."""
        return self.scales + self.other

    @property
    def total(self) -> int:
        """Payload and overhead."""
        return self.payload + self.scales + self.other

    def times(self, n: int) -> ByteCount:
        """The bytes of n such tensors."""
        return ByteCount(self.payload * n, self.scales * n, self.other * n)


class PlainLayout(msgspec.Struct, frozen=True, tag=True):
    """Every element on its own: bf16 of [4096, 4096] takes 4096 · 4096 · 2 = 33,554,432 bytes."""

    element: int


class PerTensor(msgspec.Struct, frozen=True, tag=True):
    """One scale for each matrix: 1 byte an element of [4096, 4096] and a 4-byte scale are 16,777,220 bytes."""

    element: int
    scale: int


class PerRow(msgspec.Struct, frozen=True, tag=True):
    """A scale, and where `zero` is not 0 a zero point, for each row.

    int8 of [48, 512] as torchao has it: 24,576 + 48 · 4 + 48 · 1 = 24,816 bytes.
    """

    element: int
    scale: int
    zero: int = 0


class Tiled(msgspec.Struct, frozen=True, tag=True):
    """A scale for each square tile of a matrix; tiles at the edges may be partial.

    fp8 of [576, 7168] with tiles of 128: 4,128,768 + ceil(576/128) · 56 · 4 = 4,129,888 bytes.
    """

    element: int
    tile: int
    scale: int


class Grouped(msgspec.Struct, frozen=True, tag=True):
    """`bits` an element, and a scale and perhaps a zero point for each group of a row; a row is whole groups.

    int4 of [4096, 4096], groups of 128, scales and zeros of 2 bytes: 8,388,608 + 2 · 131,072 · 2 = 8,912,896 bytes.
    """

    bits: int
    group: int
    scale: int
    zero: int = 0


class Words(msgspec.Struct, frozen=True, tag=True):
    """Weights and zero points packed to 32-bit words, a scale and a zero point for a group of inputs and an output.

    Outputs divide by `out_by` and inputs by `in_by`, or the words would not be full. `index` are the bytes for each
    input of a table that names its group. GPTQ of [4096, 4096] in groups of 128: 8,388,608 payload, 32 · 4096 · 2 =
    262,144 scales, 32 · 512 · 4 = 65,536 zeros and 4096 · 4 = 16,384 of g_idx: 8,732,672 bytes.
    """

    bits: int
    group: int
    scale: int
    out_by: int
    in_by: int
    index: int = 0


class Nested(msgspec.Struct, frozen=True, tag=True):
    """4 bits an element in blocks of the flattened matrix, a scale of 1 byte each, those again in blocks with a scale.

    `tables` are bytes that every matrix has once. [576, 1536] as bitsandbytes' NF4: 442,368 payload, 13,824 scales and
    54 · 4 second-level scales, and 1,092 of tables: 457,500 bytes. With `nested` 0 there is one level of 4-byte scales.
    """

    block: int
    nested: int
    tables: int


class RowBlocks(msgspec.Struct, frozen=True, tag=True):
    """A row is whole blocks, each of so many bytes of weights, scales and minima.

    Q4_1 of [576, 1536]: 27,648 blocks of 32, of 16 + 2 + 2 bytes: 552,960.
    """

    block: int
    payload: int
    scales: int
    other: int = 0

    @property
    def size(self) -> int:
        """Bytes of a block."""
        return self.payload + self.scales + self.other


Layout = PlainLayout | PerTensor | PerRow | Tiled | Grouped | Words | Nested | RowBlocks


def bytes_of(layout: Layout, shape: Shape, where: str = "", name: str = "this format") -> ByteCount:
    """The bytes of a tensor. InputError, naming tensor and format, if its shape does not divide as the layout needs."""
    if problem := _misfit(layout, shape):
        raise InputError(
            msg("{name} needs {problem}, and the tensor is {shape}", name=name, problem=problem, shape=list(shape)),
            where=where,
        )
    if isinstance(layout, PlainLayout):
        return ByteCount(math.prod(shape) * layout.element)
    if isinstance(layout, RowBlocks):
        blocks = math.prod(shape) // layout.block
        return ByteCount(blocks * layout.payload, blocks * layout.scales, blocks * layout.other)
    out, into = shape[-2], shape[-1]
    return _matrix(layout, out, into).times(math.prod(shape[:-2]))


def _matrix(layout: PerTensor | PerRow | Tiled | Grouped | Words | Nested, out: int, into: int) -> ByteCount:
    match layout:
        case PerTensor(element, scale):
            return ByteCount(out * into * element, scale)
        case PerRow(element, scale, zero):
            return ByteCount(out * into * element, out * scale, out * zero)
        case Tiled(element, tile, scale):
            return ByteCount(out * into * element, ceil(out, tile) * ceil(into, tile) * scale)
        case Grouped(bits, group, scale, zero):
            groups = out * (into // group)
            return ByteCount(out * ceil(into * bits, 8), groups * scale, groups * zero)
        case Words():
            return _words(layout, out, into)
        case Nested():
            return _nested(layout, out * into)


def _words(layout: Words, out: int, into: int) -> ByteCount:
    groups = ceil(into, layout.group)
    zeros = groups * (out * layout.bits // 8)
    return ByteCount(out * into * layout.bits // 8, groups * out * layout.scale, zeros + into * layout.index)


def _nested(layout: Nested, count: int) -> ByteCount:
    blocks = ceil(count, layout.block)
    scales = blocks + 4 * ceil(blocks, layout.nested) if layout.nested else 4 * blocks
    return ByteCount(ceil(count, 2), scales, layout.tables)


def _misfit(layout: Layout, shape: Shape) -> str:
    """What a shape lacks to be laid out so; nothing if it can be."""
    if isinstance(layout, PlainLayout):
        return ""
    if isinstance(layout, RowBlocks):
        return _undivided("rows", shape[-1] if shape else 1, layout.block)
    if len(shape) < 2:
        return "a matrix"
    if isinstance(layout, Grouped):
        return _undivided("rows", shape[-1], layout.group)
    if isinstance(layout, Words):
        return _undivided("inputs", shape[-1], layout.in_by) or _undivided("outputs", shape[-2], layout.out_by)
    return ""


def _undivided(what: str, size: int, by: int) -> str:
    return f"{what} divisible by {by}" if size % by else ""


def ceil(count: int, by: int) -> int:
    """count / by, rounded up, in ints: ceil(7, 2) = 4."""
    return -(-count // by)
