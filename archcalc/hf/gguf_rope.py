"""Llama 3.1's scaling of rotary frequencies, told from the factors that GGUF files keep instead of its parameters.

llama.cpp's converter (convert_hf_to_gguf.py, LlamaModel.generate_extra_tensors) writes what each pair's frequency is
divided by, and always takes 8192 tokens for the context before the stretch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from archcalc.errors import InputError
from archcalc.words import msg

FACTORS = "rope_freqs.weight"
# What Meta published for every model of the family; `factor` alone differs among them.
LOW, HIGH, N_CTX_ORIGINAL = 1.0, 4.0, 8192
# The share of a frequency that is left, 1 / factor: the converter computes it in 32 bits, which moves it by up to 6e-7.
ROUNDING = 2.0**-19


def scaling_of(factors_R: Sequence[float], theta: float) -> dict[str, Any]:
    """The config's `rope_scaling` that divides the frequencies of `theta` by these factors, one for each pair.

    Raises InputError for factors that Llama 3.1's parameters do not give.
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
        if abs(1 / found - share) > ROUNDING:
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
                    "those of low_freq_factor {LOW:g}, high_freq_factor {HIGH:g} and {N_CTX_ORIGINAL} tokens",
                    LOW=LOW,
                    HIGH=HIGH,
                    N_CTX_ORIGINAL=N_CTX_ORIGINAL,
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
    """What is left of each pair's frequency (Llama 3.1's reference code, `apply_scaling`; see nn/rope.py)."""
    for pair in range(n_pairs):
        turns = N_CTX_ORIGINAL * theta ** (-pair / n_pairs) / (2 * math.pi)
        kept = min(max((turns - LOW) / (HIGH - LOW), 0.0), 1.0)
        yield (1 - kept) / factor + kept
