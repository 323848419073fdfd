"""Measure a device's memory bandwidth, which bounds decoding: every step reads all weights once."""

from __future__ import annotations

import time

import torch

from archcalc.run.devices import free_memory

_N_BYTES = 2**28  # far larger than any cache
_ROUNDS = 5


def bandwidth(device: torch.device) -> float | None:
    """Return bytes per second: the fastest of a few sums over 256 MiB, with torch's threads.

    None if the device has no memory free for that.
    """
    if free_memory(device) < 2 * _N_BYTES:
        return None
    values = torch.ones(_N_BYTES // 4, device=device)
    return _N_BYTES / min(_seconds(values) for _ in range(_ROUNDS))


def _seconds(values: torch.Tensor) -> float:
    start = time.perf_counter()
    values.sum().item()  # .item() waits for a GPU
    return time.perf_counter() - start
