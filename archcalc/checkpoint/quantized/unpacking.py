"""Unpack integers of a few bits, and the four-bit floating-point numbers E2M1."""

from __future__ import annotations

import torch
from torch import Tensor

_WORD, _BYTE = 32, 8
# OCP Microscaling Formats 1.0, table of E2M1: the codes 0 to 7, then the same with a sign.
E2M1 = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0])


def unpacked(words: Tensor, bits: int, n: int) -> Tensor:
    """Return the first `n` unsigned integers of the rows of int32 words [R, W], as integers [R, n].

    Number k takes the bits from k · bits on, counted from the lowest; it may lie in two words.
    """
    if _BYTE % bits == 0:
        data = words.contiguous().view(torch.uint8)
        parts = [(data >> shift) & ((1 << bits) - 1) for shift in range(0, _BYTE, bits)]
        return torch.stack(parts, -1).flatten(1)[:, :n]
    first = torch.arange(n) * bits
    word, shift = first // _WORD, first % _WORD
    wide = torch.nn.functional.pad(words.long() & 0xFFFFFFFF, (0, 1))
    pair = wide[:, word] | (wide[:, word + 1] << _WORD)
    return ((pair >> shift) & ((1 << bits) - 1)).int()


def nibbles(data: Tensor, *, high_first: bool = False) -> Tensor:
    """Return the two integers of each byte along the last axis as indices, the low half first."""
    low, high = data & 0xF, data >> 4
    return torch.stack((high, low) if high_first else (low, high), -1).flatten(-2).int()
