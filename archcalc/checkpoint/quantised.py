"""Rows of the tensors that GGUF files hold in blocks, through the `gguf` library."""

from __future__ import annotations

import torch
from torch import Tensor

from archcalc.checkpoint.read import Files
from archcalc.formats.file_tensor import FileTensor


def rows(opened: Files, stored: FileTensor, part: slice) -> Tensor:
    """Some rows of a tensor (all its axes but the last taken as one), in fp32."""
    import numpy as np
    from gguf import GGMLQuantizationType
    from gguf.quants import dequantize

    n_rows = int(torch.Size(stored.shape[:-1]).numel())
    row_bytes = stored.n_bytes // n_rows
    first = stored.start + part.start * row_bytes
    data = memoryview(opened.map(stored))[first : stored.start + part.stop * row_bytes]
    blocks = np.frombuffer(data, dtype=np.uint8).reshape(part.stop - part.start, row_bytes)
    with np.errstate(all="ignore"):  # broken scales give logits that are no numbers, which are told
        return torch.from_numpy(dequantize(blocks, GGMLQuantizationType[stored.dtype]))
