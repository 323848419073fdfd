"""Layouts: the bytes of a tensor of a given shape, with one record and one function for each kind of layout.

A shape is `[..., out, in]`, outermost first; a row is the last axis. The axes before the last two stack matrices, and
each matrix has its own layout. Every number is an exact int. Sizes that do not divide are rounded up if the library
does so (`ceil` below), else refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import msgspec

from archcalc.errors import InputError
from archcalc.words import msg

Shape = Sequence[int]


def snake(name: str) -> str:
    """Return the name of a class in lower case: RowBlocks gives 'row_blocks'."""
    return re.sub("(?<!^)(?=[A-Z])", "_", name).lower()


class ByteCount(msgspec.Struct, frozen=True):
    """The bytes of a tensor: elements, scales, and everything else (zero points, minima, indices, tables)."""

    payload: int
    scales: int = 0
    other: int = 0

    @property
    def overhead(self) -> int:
        """Return all bytes except the payload."""
        return self.scales + self.other

    @property
    def total(self) -> int:
        """Return payload and overhead."""
        return self.payload + self.scales + self.other

    def times(self, n: int) -> ByteCount:
        """Return the bytes of n such tensors."""
        return ByteCount(self.payload * n, self.scales * n, self.other * n)


class PlainLayout(msgspec.Struct, frozen=True, tag_field="kind", tag=snake):
    """Elements without scales: bf16 of [4096, 4096] takes 4096 · 4096 · 2 = 33,554,432 bytes."""

    element: int


class PerTensor(msgspec.Struct, frozen=True, tag_field="kind", tag=snake):
    """One scale for each matrix: 1 byte an element of [4096, 4096] and a 4-byte scale are 16,777,220 bytes."""

    element: int
    scale: int


class PerRow(msgspec.Struct, frozen=True, tag_field="kind", tag=snake):
    """A scale for each row, and a zero point if `zero` is not 0.

    int8 of [48, 512] in torchao: 24,576 + 48 · 4 + 48 · 1 = 24,816 bytes.
    """

    element: int
    scale: int
    zero: int = 0


class Tiled(msgspec.Struct, frozen=True, tag_field="kind", tag=snake):
    """A scale for each tile of a matrix; tiles at the edges may be partial.

    `tile` are the rows of a tile, `columns` its columns if it is not square. `matrix`: other bytes per matrix.
    fp8 of [576, 7168] with tiles of 128: 4,128,768 + ceil(576/128) · 56 · 4 = 4,129,888 bytes.
    """

    element: int
    tile: int
    scale: int
    columns: int = 0
    matrix: int = 0


class Grouped(msgspec.Struct, frozen=True, tag_field="kind", tag=snake):
    """`bits` per element, and a scale and an optional zero point for each group of a row; a row is whole groups.

    `group` 0: the whole row. A row fills whole words of `word` bytes. `matrix`: other bytes per matrix. With
    `packed_zeros`, the zero points have as many bits as elements, in words along the outputs. `index` are the bytes per
    input of a table of groups.
    int4 of [4096, 4096], groups of 128, scales and zeros of 2 bytes: 8,388,608 + 2 · 131,072 · 2 = 8,912,896 bytes.
    """

    bits: int
    group: int
    scale: int
    zero: int = 0
    word: int = 1
    matrix: int = 0
    packed_zeros: bool = False
    index: int = 0


class Words(msgspec.Struct, frozen=True, tag_field="kind", tag=snake):
    """Weights and zero points in 32-bit words, a scale and a zero point for each group of inputs and each output.

    `group` 0: the whole row. Outputs must divide by `out_by` and inputs by `in_by` to fill the words. `index` are the
    bytes per input of a table of groups. GPTQ of [4096, 4096] in groups of 128: 8,388,608 payload, 32 · 4096 · 2 =
    262,144 scales, 32 · 512 · 4 = 65,536 zeros and 4096 · 4 = 16,384 of g_idx: 8,732,672 bytes.
    """

    bits: int
    group: int
    scale: int
    out_by: int
    in_by: int
    index: int = 0


class Nested(msgspec.Struct, frozen=True, tag_field="kind", tag=snake):
    """4 bits per element in blocks of the flattened matrix, with 1-byte scales, which are in blocks with scales too.

    `tables` are the bytes of tables per matrix. [576, 1536] in bitsandbytes' NF4: 442,368 payload, 13,824 scales and
    54 · 4 second-level scales, and 1,092 of tables: 457,500 bytes. With `nested` 0 there is one level of 4-byte scales.
    """

    block: int
    nested: int
    tables: int


class RowBlocks(msgspec.Struct, frozen=True, tag_field="kind", tag=snake):
    """Blocks of a row, each with bytes of weights, scales and minima; a row is whole blocks.

    Q4_1 of [576, 1536]: 27,648 blocks of 32, of 16 + 2 + 2 bytes: 552,960.
    """

    block: int
    payload: int
    scales: int
    other: int = 0

    @property
    def size(self) -> int:
        """Return the bytes of a block."""
        return self.payload + self.scales + self.other


Layout = PlainLayout | PerTensor | PerRow | Tiled | Grouped | Words | Nested | RowBlocks


def bytes_of(layout: Layout, shape: Shape, where: str = "", name: str = "this format") -> ByteCount:
    """Return the bytes of a tensor. Raises InputError that names tensor and format if its shape does not fit."""
    if problem := _shape_problem(layout, shape):
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
        case Tiled(element, tile, scale, columns, matrix):
            tiles = ceil(out, tile) * ceil(into, columns or tile)
            return ByteCount(out * into * element, tiles * scale, matrix)
        case Grouped():
            return _grouped(layout, out, into)
        case Words():
            return _words(layout, out, into)
        case Nested():
            return _nested(layout, out * into)


def _grouped(layout: Grouped, out: int, into: int) -> ByteCount:
    groups = into // layout.group if layout.group else 1
    payload = out * ceil(into * layout.bits, 8 * layout.word) * layout.word
    packed = groups * ceil(out * layout.bits, 8 * layout.word) * layout.word if layout.packed_zeros else 0
    other = out * groups * layout.zero + packed + layout.matrix + into * layout.index
    return ByteCount(payload, out * groups * layout.scale, other)


def _words(layout: Words, out: int, into: int) -> ByteCount:
    groups = ceil(into, layout.group or into)
    zeros = groups * (out * layout.bits // 8)
    return ByteCount(out * into * layout.bits // 8, groups * out * layout.scale, zeros + into * layout.index)


def _nested(layout: Nested, count: int) -> ByteCount:
    blocks = ceil(count, layout.block)
    scales = blocks + 4 * ceil(blocks, layout.nested) if layout.nested else 4 * blocks
    return ByteCount(ceil(count, 2), scales, layout.tables)


def _shape_problem(layout: Layout, shape: Shape) -> str:
    """Return what the layout needs and the shape does not have; "" if it fits."""
    if isinstance(layout, PlainLayout):
        return ""
    if isinstance(layout, RowBlocks):
        return _divisor_problem("rows", shape[-1] if shape else 1, layout.block)
    if len(shape) < 2:
        return "a matrix"
    if isinstance(layout, Grouped):
        return _divisor_problem("rows", shape[-1], layout.group or 1)
    if isinstance(layout, Words):
        return _divisor_problem("inputs", shape[-1], layout.in_by) or _divisor_problem(
            "outputs", shape[-2], layout.out_by
        )
    return ""


def _divisor_problem(what: str, size: int, by: int) -> str:
    return f"{what} divisible by {by}" if size % by else ""


def ceil(count: int, by: int) -> int:
    """Return count / by, rounded up, in ints: ceil(7, 2) = 4."""
    return -(-count // by)
