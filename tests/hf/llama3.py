"""What `rope_freqs.weight` holds of Llama 3.1's scaling, as llama.cpp's converter computes it."""

from __future__ import annotations

import math

import torch


def factors_of(
    factor: float, theta: float = 500_000.0, d_head: int = 64, low: float = 1, high: float = 4, before: int = 8192
) -> list[float]:
    """What llama.cpp's converter writes: by wavelengths, in 32 bits."""
    found = []
    for frequency in 1.0 / theta ** (torch.arange(0, d_head, 2, dtype=torch.float32) / d_head):
        wavelength = 2 * math.pi / frequency
        part = (before / wavelength - low) / (high - low)
        between = 1 / ((1 - part) / factor + part)
        found.append(1 if wavelength < before / high else factor if wavelength > before / low else between)
    return torch.tensor(found, dtype=torch.float32).tolist()
