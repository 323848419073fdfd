"""How the parts of each packing make a matrix: one record a packing.

A value is (element − zero point) · scale + shift. Sources: transformers 5.23 integrations/finegrained_fp8.py and
mxfp4.py; compressed-tensors 0.20 compressors/; AutoGPTQ 0.7 qlinear_cuda_old.py and GPTQModel (format `gptq_v2`);
AutoAWQ 0.2 awq/modules/linear/gemm.py; bitsandbytes 0.50 functional.py; ModelOpt NVFP4QTensor; MLX quantize.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from archcalc.checkpoint.quantized import bitsandbytes
from archcalc.checkpoint.quantized.matrix import MatrixParts, Sizes, floats, spread_tiles
from archcalc.checkpoint.quantized.stated import Facts, nothing, stated_shape
from archcalc.checkpoint.quantized.unpacking import E2M1, nibbles, unpacked
from archcalc.formats.layouts import Shape, ceil
from archcalc.formats.packings import ELEMENTS, PackingName

_WORD = 32
# AutoAWQ stores the outputs of a word in the order 0, 2, 4, 6, 1, 3, 5, 7: where output k of eight lies.
_AWQ_PLACES = [0, 4, 1, 5, 2, 6, 3, 7]


class Decoder(NamedTuple):
    """How parts make a matrix.

    - `shape`: the shape of the weight, from that of its elements, the sizes of an integer and what parts state
    - `parts`: the shapes of the parts of one matrix
    - `elements`: the elements of some rows
    - `scale`, `zero`, `shift`: of the tiles [R, C]
    - `spread`: the values of tiles for some rows, in a shape for the elements to be multiplied with
    - `facts`: what the parts state, read before the weights
    """

    shape: Callable[[Shape, int, Mapping[str, Any]], Shape]
    parts: Callable[[Sizes], Mapping[str, Shape]]
    elements: Callable[[MatrixParts, slice], Tensor]
    scale: Callable[[MatrixParts], Tensor]
    zero: Callable[[MatrixParts], Tensor | None] = lambda matrix: None
    shift: Callable[[MatrixParts], Tensor | None] = lambda matrix: None
    spread: Callable[[MatrixParts, Tensor, slice], Tensor] = spread_tiles
    facts: Facts = nothing


def _tiles(matrix: MatrixParts, role: str) -> Tensor:
    """Return a part that has a value for each tile."""
    return floats(matrix[role])


def _turned_tiles(matrix: MatrixParts, role: str) -> Tensor:
    """Return a part with a value for each tile, stored by columns."""
    return floats(matrix[role]).T


def _scale(matrix: MatrixParts) -> Tensor:
    return _tiles(matrix, "scale")


def _as_stored(matrix: MatrixParts, rows: slice) -> Tensor:
    return matrix[ELEMENTS][rows].float()


def _same(shape: Shape, bits: int, facts: Mapping[str, Any]) -> Shape:
    return shape


def _per_tile(sizes: Sizes, *roles: str) -> dict[str, Shape]:
    return dict.fromkeys(roles, sizes.n_tiles)


_SCALED = Decoder(
    shape=_same,
    parts=lambda sizes: {ELEMENTS: (sizes.n_out, sizes.n_in)} | _per_tile(sizes, "scale", "zero"),
    elements=_as_stored,
    scale=_scale,
    zero=lambda matrix: matrix["zero"].float() if "zero" in matrix else None,
)
_FP4 = Decoder(
    shape=lambda shape, bits, facts: (*shape[:-1], 2 * shape[-1]),
    parts=lambda sizes: (
        {ELEMENTS: (sizes.n_out, ceil(sizes.n_in, 2)), "divisor": (), "factor": ()} | _per_tile(sizes, "scale")
    ),
    elements=lambda matrix, rows: E2M1[nibbles(matrix[ELEMENTS][rows].view(torch.uint8))],
    scale=_scale,
)
_MXFP4_BLOCKS = _FP4._replace(
    shape=lambda shape, bits, facts: (*shape[:-2], 2 * shape[-2] * shape[-1]),
    parts=lambda sizes: {ELEMENTS: (sizes.n_out, sizes.n_tiles[1], sizes.tile[1] // 2)} | _per_tile(sizes, "scale"),
    elements=lambda matrix, rows: E2M1[nibbles(matrix[ELEMENTS][rows].flatten(1))],
)


def _words(count: int, bits: int) -> int:
    return ceil(count * bits, _WORD)


def _signed(matrix: MatrixParts) -> int:
    """Return what is added to a signed integer to pack it."""
    return 1 << (matrix.sizes.bits - 1)


def _packed_zeros(matrix: MatrixParts) -> Tensor | None:
    """Return the zero points that compressed-tensors packs along the outputs."""
    if "zero" not in matrix:
        return None
    zeros = unpacked(matrix["zero"].T, matrix.sizes.bits, matrix.sizes.n_out).T
    return zeros.float() - _signed(matrix)


_PACKED = Decoder(
    shape=lambda shape, bits, facts: facts["shape"],
    parts=lambda sizes: (
        {
            ELEMENTS: (sizes.n_out, _words(sizes.n_in, sizes.bits)),
            "zero": (_words(sizes.n_out, sizes.bits), sizes.n_tiles[1]),
            "index": (sizes.n_in,),
        }
        | _per_tile(sizes, "scale")
    ),
    elements=lambda matrix, rows: (
        unpacked(matrix[ELEMENTS][rows], matrix.sizes.bits, matrix.sizes.n_in).float() - _signed(matrix)
    ),
    scale=_scale,
    zero=_packed_zeros,
    facts=stated_shape,
)


def _gptq_zeros(matrix: MatrixParts, offset: int) -> Tensor:
    """Return zero points, which files of the first version store less 1."""
    bits = matrix.sizes.bits
    zeros = (unpacked(matrix["zero"], bits, matrix.sizes.n_out) + offset) & ((1 << bits) - 1)
    return zeros.T.float()


def _gptq(offset: int) -> Decoder:
    return Decoder(
        shape=lambda shape, bits, facts: (*shape[:-2], shape[-1], shape[-2] * _WORD // bits),
        parts=lambda sizes: {
            ELEMENTS: (_words(sizes.n_in, sizes.bits), sizes.n_out),
            "scale": (sizes.n_tiles[1], sizes.n_out),
            "zero": (sizes.n_tiles[1], _words(sizes.n_out, sizes.bits)),
            "index": (sizes.n_in,),
        },
        elements=lambda matrix, rows: unpacked(matrix[ELEMENTS][:, rows].T, matrix.sizes.bits, matrix.sizes.n_in),
        scale=lambda matrix: _turned_tiles(matrix, "scale"),
        zero=lambda matrix: _gptq_zeros(matrix, offset),
    )


def _awq_outputs(words: Tensor) -> Tensor:
    """Return the integers of words [R, W] in their own order, [8·W, R]."""
    return unpacked(words.reshape(-1, 1), 4, 8)[:, _AWQ_PLACES].reshape(len(words), -1).T


def _awq_elements(matrix: MatrixParts, rows: slice) -> Tensor:
    first = rows.start // 8
    outputs = _awq_outputs(matrix[ELEMENTS][:, first : ceil(rows.stop, 8)])
    return outputs[rows.start - 8 * first : rows.stop - 8 * first]


_AWQ = Decoder(
    shape=lambda shape, bits, facts: (*shape[:-2], 8 * shape[-1], shape[-2]),
    parts=lambda sizes: {
        ELEMENTS: (sizes.n_in, ceil(sizes.n_out, 8)),
        "scale": (sizes.n_tiles[1], sizes.n_out),
        "zero": (sizes.n_tiles[1], ceil(sizes.n_out, 8)),
    },
    elements=_awq_elements,
    scale=lambda matrix: _turned_tiles(matrix, "scale"),
    zero=lambda matrix: _awq_outputs(matrix["zero"]).float(),
)
_MLX = Decoder(
    shape=lambda shape, bits, facts: (*shape[:-1], shape[-1] * _WORD // bits),
    parts=lambda sizes: {ELEMENTS: (sizes.n_out, _words(sizes.n_in, sizes.bits))} | _per_tile(sizes, "scale", "shift"),
    elements=lambda matrix, rows: unpacked(matrix[ELEMENTS][rows], matrix.sizes.bits, matrix.sizes.n_in),
    scale=_scale,
    shift=lambda matrix: _tiles(matrix, "shift"),
)

DECODERS: dict[PackingName, Decoder] = {
    "scaled": _SCALED,
    "scaled_inv": _SCALED,
    "fp4_scaled": _FP4,
    "fp4_scaled_inv": _FP4,
    "packed": _PACKED,
    "nvfp4": _FP4._replace(scale=lambda matrix: _scale(matrix) / floats(matrix["divisor"])),
    "nvfp4_modelopt": _FP4._replace(scale=lambda matrix: _scale(matrix) * floats(matrix["factor"])),
    "mxfp4": _FP4,
    "mxfp4_blocks": _MXFP4_BLOCKS,
    "gptq": _gptq(offset=1),
    "gptq_v2": _gptq(offset=0),
    "awq": _AWQ,
    "bnb_4bit": Decoder(
        shape=lambda shape, bits, facts: facts["shape"],
        parts=bitsandbytes.part_shapes,
        elements=bitsandbytes.elements,
        scale=bitsandbytes.scales,
        spread=bitsandbytes.spread,
        facts=bitsandbytes.state,
    ),
    "bnb_int8": _SCALED._replace(scale=lambda matrix: _scale(matrix) / 127),
    "mlx": _MLX,
}
