"""Attention weights as 16-bit numbers, for pages that draw them.

Axes: N heads, T queries, S keys.
"""

from __future__ import annotations

import torch
from torch import Tensor

# A weight is a whole number from 0 to FULL; MASKED stands for a hidden key.
FULL, MASKED = 65534, 65535
# Scores below it are those of masked keys.
_LOWEST_SCORE = -1e30


def is_masked(scores_NTS: Tensor) -> Tensor:
    """Return which scores are those of keys that a mask hides."""
    return scores_NTS.float() < _LOWEST_SCORE


def pattern_bytes(pattern_NTS: Tensor, scores_NTS: Tensor) -> bytes:
    """Return the weights of all heads, two bytes for each, the lower first."""
    cells_NTS = (pattern_NTS.float() * FULL).round().int().cpu()
    cells_NTS[is_masked(scores_NTS).cpu()] = MASKED
    halves = torch.stack([cells_NTS & 255, cells_NTS >> 8], dim=-1)
    return bytes(halves.to(torch.uint8).contiguous().flatten().untyped_storage())
