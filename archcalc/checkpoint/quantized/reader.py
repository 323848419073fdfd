"""The values of a quantized matrix, some rows at a time."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from archcalc.checkpoint.memory_map import FileMaps, chunks
from archcalc.checkpoint.quantized.decoders import DECODERS
from archcalc.checkpoint.quantized.matrix import MatrixParts
from archcalc.checkpoint.quantized.tensor import QuantizedTensor

RowReader = Callable[[slice], Tensor]


def row_reader(maps: FileMaps, stored: QuantizedTensor) -> RowReader:
    """Return the function that gives a range of rows in fp32; the axes of a stack are flattened into rows."""
    if len(stored.shape) == 2:
        return _of_matrix(maps, stored)
    return lambda rows: _whole_stack(maps, stored).flatten(0, -2)[rows]


def _whole_stack(maps: FileMaps, stored: QuantizedTensor) -> Tensor:
    return torch.stack([whole(maps, stored.matrix(index)) for index in range(stored.shape[0])])


def whole(maps: FileMaps, stored: QuantizedTensor) -> Tensor:
    """Return all values in fp32, with no more than one chunk of them in memory besides."""
    if len(stored.shape) > 2:
        return _whole_stack(maps, stored)
    read, found = _of_matrix(maps, stored), torch.empty(stored.shape)
    for part in chunks(stored.shape[0], found.nbytes):
        found[part] = read(part)
    return found


def _of_matrix(maps: FileMaps, stored: QuantizedTensor) -> RowReader:
    decoder = DECODERS[stored.packing]
    matrix = MatrixParts.of(maps, stored, decoder.parts)
    tables = (
        (decoder.zero(matrix), Tensor.sub_),
        (decoder.scale(matrix), Tensor.mul_),
        (decoder.shift(matrix), Tensor.add_),
    )
    steps = [(table, apply) for table, apply in tables if table is not None]

    def rows_of(rows: slice) -> Tensor:
        values = decoder.elements(matrix, rows).float()
        for table, apply in steps:
            of_rows = decoder.spread(matrix, table, rows)
            apply(values if of_rows.dim() == 2 else values.view(len(values), of_rows.shape[1], -1), of_rows)
        return values

    return rows_of
