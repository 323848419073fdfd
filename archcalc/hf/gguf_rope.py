"""Llama 3.1's scaling of rotary frequencies, recovered from the factors that GGUF files store.

llama.cpp's converter (convert_hf_to_gguf.py, LlamaModel.generate_extra_tensors) writes the divisor of each pair's
frequency, and always assumes an original context of 8192 tokens.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from archcalc.errors import InputError
from archcalc.words import msg

FACTORS = "rope_freqs.weight"
# Meta published these for every model of the family; only `factor` differs.
LOW, HIGH, N_CTX_ORIGINAL = 1.0, 4.0, 8192
# Tolerance of 1 / factor: the converter computes it in 32 bits, with an error of up to 6e-7.
TOLERANCE = 2.0**-19


def scaling_of(factors_R: Sequence[float], theta: float) -> dict[str, Any]:
    """Return the config's `rope_scaling` that divides the frequencies of `theta` by these factors, one for each pair.

    Raises InputError for factors that no parameters of Llama 3.1 give.
    """
    for pair, found in enumerate(factors_R):
        if not 0 < found < math.inf:
            raise InputError(
                msg("divides the frequency of pair {pair} by {found}", pair=pair, found=found),
                where=FACTORS,
                allowed=msg("above 0"),
            )
    factor = max(factors_R)
    for pair, (found, share) in enumerate(zip(factors_R, _shares(factor, theta, len(factors_R)), strict=True)):
        if abs(1 / found - share) > TOLERANCE:
            raise InputError(
                msg(
                    "divides the frequency of pair {pair} by {found:.7g}, which Llama 3.1 with factor {factor:.7g} "
                    "divides by {value:.7g}",
                    pair=pair,
                    found=found,
                    factor=factor,
                    value=1 / share,
                ),
                where=FACTORS,
                allowed=msg(
                    "those of low_freq_factor {low:g}, high_freq_factor {high:g} and {n_ctx_original} tokens",
                    low=LOW,
                    high=HIGH,
                    n_ctx_original=N_CTX_ORIGINAL,
                ),
            )
    return {
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": LOW,
        "high_freq_factor": HIGH,
        "original_max_position_embeddings": N_CTX_ORIGINAL,
    }


def _shares(factor: float, theta: float, n_pairs: int) -> Iterator[float]:
    """Yield the remaining share of each pair's frequency (Llama 3.1's code, `apply_scaling`; see nn/rope.py)."""
    for pair in range(n_pairs):
        n_rotations = N_CTX_ORIGINAL * theta ** (-pair / n_pairs) / (2 * math.pi)
        weight = min(max((n_rotations - LOW) / (HIGH - LOW), 0.0), 1.0)
        yield (1 - weight) / factor + weight
