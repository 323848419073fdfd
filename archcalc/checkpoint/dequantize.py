"""The values of tensors that files store in quantized form, in fp32."""

from __future__ import annotations

from functools import partial
from math import prod

from torch import Tensor

from archcalc.checkpoint import gguf_blocks
from archcalc.checkpoint.memory_map import FileMaps
from archcalc.checkpoint.quantized import reader
from archcalc.checkpoint.quantized.tensor import QuantizedTensor
from archcalc.formats.file_tensor import FileTensor


def row_reader(maps: FileMaps, stored: FileTensor) -> reader.RowReader:
    """Return the function that gives a range of rows; all axes but the last are flattened into rows."""
    if isinstance(stored, QuantizedTensor):
        return reader.row_reader(maps, stored)
    return partial(gguf_blocks.dequantized_rows, maps, stored)


def dequantized(maps: FileMaps, stored: FileTensor) -> Tensor:
    """Return all values of a tensor."""
    if isinstance(stored, QuantizedTensor):
        return reader.whole(maps, stored)
    every_row = slice(0, prod(stored.shape[:-1]))
    return gguf_blocks.dequantized_rows(maps, stored, every_row).view(stored.shape)
