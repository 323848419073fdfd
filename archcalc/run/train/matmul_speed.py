"""Measure how fast a device multiplies matrices, the reference for a training run's MFU."""

from __future__ import annotations

import time

import torch

_SIZE, _ROUNDS = 1024, 8


def matmul_flops(device: torch.device, dtype: torch.dtype = torch.float32) -> float:
    """Return FLOPs per second: the fastest of a few products of 1024 × 1024 matrices, with torch's threads."""
    a = torch.ones(_SIZE, _SIZE, device=device, dtype=dtype)
    a @ a
    return 2 * _SIZE**3 / min(_seconds(a) for _ in range(_ROUNDS))


def _seconds(a: torch.Tensor) -> float:
    start = time.perf_counter()
    (a @ a)[0, 0].item()  # .item() waits for a GPU
    return time.perf_counter() - start
