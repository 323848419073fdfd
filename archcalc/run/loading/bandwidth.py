"""How fast a device reads its memory: what bounds decoding, whose every step reads all the weights once."""

from __future__ import annotations

import time

import torch

from archcalc.run.devices import free_memory

_N_BYTES = 2**28  # far more than any cache holds
_ROUNDS = 5


def bandwidth(device: torch.device) -> float | None:
    """Bytes a second, measured: the fastest of a few sums over 256 MiB, by as many threads as torch uses.

    None where there is no room for that.
    """
    if free_memory(device) < 2 * _N_BYTES:
        return None
    numbers = torch.ones(_N_BYTES // 4, device=device)
    return _N_BYTES / min(_seconds(numbers) for _ in range(_ROUNDS))


def _seconds(numbers: torch.Tensor) -> float:
    began = time.perf_counter()
    numbers.sum().item()  # .item() waits for a GPU
    return time.perf_counter() - began
