"""The chunks of tokens that a recurrence computes at once, which mixers share.

Axes: B batch, N heads, T tokens, Z any width; M chunks, C and c tokens of a chunk.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def in_chunks(x_BNTZ: Tensor, chunk: int) -> Tensor:
    """Return a copy of the tokens in chunks [B, N, M, C, Z], the last one padded with zeros."""
    n_tokens = x_BNTZ.shape[2]
    padded = F.pad(x_BNTZ.contiguous(), (0, 0, 0, -n_tokens % chunk))
    return torch.unflatten(padded, 2, (-1, chunk))


def segment_sums(x_ZC: Tensor) -> Tensor:
    """Return the sum of elements c + 1 … C at [..., C, c]; −∞ where c is after C.

    A masked sum is more exact than a difference of two sums (Dao & Gu 2024, listing 1).
    """
    n_elements = x_ZC.shape[-1]
    is_own_or_later_Cc = torch.ones(n_elements, n_elements, dtype=torch.bool, device=x_ZC.device).triu()
    expanded_ZCc = x_ZC.unsqueeze(-1).expand(*x_ZC.shape, n_elements)
    sums_ZCc = expanded_ZCc.masked_fill(is_own_or_later_Cc, 0.0).cumsum(-2)
    return sums_ZCc.masked_fill(is_own_or_later_Cc.triu(1), -torch.inf)
