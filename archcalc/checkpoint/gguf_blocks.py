"""Dequantize rows of the tensors that GGUF files store in blocks, with the `gguf` library."""

from __future__ import annotations

import torch
from torch import Tensor

from archcalc.checkpoint.memory_map import DTYPES, INTEGERS, FileMaps
from archcalc.errors import InputError, shown
from archcalc.formats.file_tensor import FileTensor
from archcalc.formats.gguf_types import FILE_BLOCKS
from archcalc.words import msg


def check_dequantizable(stored: FileTensor) -> None:
    """Raise InputError unless a tensor is plain, or the `gguf` library can dequantize its type."""
    if stored.dtype in DTYPES or stored.dtype in INTEGERS:
        return
    import numpy as np
    from gguf import GGMLQuantizationType
    from gguf.quants import dequantize

    try:
        dequantize(np.zeros((1, FILE_BLOCKS[stored.dtype].size), np.uint8), GGMLQuantizationType[stored.dtype])
    except (KeyError, NotImplementedError):
        raise InputError(
            msg("is stored as {dtype}, which the library gguf cannot dequantize", dtype=stored.dtype),
            where=shown(stored.name, 200),
            file=str(stored.file),
        ) from None


def dequantized_rows(maps: FileMaps, stored: FileTensor, row_range: slice) -> Tensor:
    """Return a range of rows in fp32; all axes but the last are flattened into rows."""
    import numpy as np
    from gguf import GGMLQuantizationType
    from gguf.quants import dequantize

    n_rows = int(torch.Size(stored.shape[:-1]).numel())
    row_bytes = stored.n_bytes // n_rows
    first = stored.start + row_range.start * row_bytes
    data = memoryview(maps.map(stored))[first : stored.start + row_range.stop * row_bytes]
    blocks = np.frombuffer(data, dtype=np.uint8).reshape(row_range.stop - row_range.start, row_bytes)
    with np.errstate(all="ignore"):  # broken scales give non-finite logits, which raise an error later
        return torch.from_numpy(dequantize(blocks, GGMLQuantizationType[stored.dtype]))
