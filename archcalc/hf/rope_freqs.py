"""The slowdowns of Llama 3.1's rotary pairs, which a GGUF file has as numbers and not by their parameters."""

from __future__ import annotations

import math
import struct
from typing import Any

from archcalc.errors import InputError
from archcalc.formats.stored import Stored

TENSOR = "rope_freqs.weight"
# As all published models of this kind have them (config.json of Llama 3.1 and 3.2); the factor is read off the file.
_PUBLISHED = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}


def scaling_of(stored: Stored, theta: float, d_rotary: int) -> dict[str, Any]:
    """The `rope_scaling` of a config whose pairs are slowed down by the numbers of this tensor.

    Raises InputError where no factor gives these numbers.
    """
    found = _numbers(stored, d_rotary // 2)
    factor = max(found)
    expected = [_slowdown(theta ** (-pair / d_rotary), factor) for pair in range(0, d_rotary, 2)]
    if not all(math.isclose(a, b, rel_tol=1e-4) for a, b in zip(found, expected, strict=True)):
        raise InputError(
            f"slows rotary pairs down by up to {factor:g}, but not in Llama 3.1's way",
            where=TENSOR,
            allowed="its low and high frequency factors 1 and 4, over 8,192 tokens",
        )
    return {"rope_type": "llama3", "factor": float(f"{factor:.6g}"), **_PUBLISHED}


def _slowdown(frequency: float, factor: float) -> float:
    """By what a pair's frequency is divided (Llama 3.1's reference code, `apply_scaling`)."""
    low, high = _PUBLISHED["low_freq_factor"], _PUBLISHED["high_freq_factor"]
    turns = _PUBLISHED["original_max_position_embeddings"] * frequency / (2 * math.pi)
    kept = min(1.0, max(0.0, (turns - low) / (high - low)))
    return 1 / ((1 - kept) / factor + kept)


def _numbers(stored: Stored, n_pairs: int) -> tuple[float, ...]:
    """The tensor's numbers, all above zero."""
    if stored.dtype != "F32" or stored.shape != (n_pairs,):
        found = f"found {stored.dtype} {list(stored.shape)}"
        raise InputError(found, where=TENSOR, allowed=f"F32 [{n_pairs}]")
    with open(stored.file, "rb") as file:
        file.seek(stored.start)
        numbers = struct.unpack(f"<{n_pairs}f", file.read(stored.n_bytes))
    if not all(0 < number < math.inf for number in numbers):
        raise InputError("holds numbers that are not above zero", where=TENSOR, allowed="slowdowns of rotary pairs")
    return numbers
