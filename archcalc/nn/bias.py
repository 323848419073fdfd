"""Positions as a bias on attention's scores.

Axes: N heads, T query tokens, S key tokens.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from archcalc.spec import position as spec


def alibi_bias(distance_TS: Tensor, n_heads: int, max_bias: float = 8.0) -> Tensor:
    """−slope · |distance| [N, T, S] (Press et al. 2021, section 3); distances are query minus key position."""
    slopes_N = torch.tensor(alibi_slopes(n_heads, max_bias), device=distance_TS.device)
    return -slopes_N.view(-1, 1, 1) * distance_TS.abs()


def alibi_slopes(n_heads: int, max_bias: float = 8.0) -> list[float]:
    """2^(−8i/n) for i of 1 … n heads; between powers of two, the next power's odd ones fill up (its reference code).

    `max_bias` takes the 8's place (MPT).
    """
    n_power = 2 ** math.floor(math.log2(n_heads))
    odd_powers = range(1, 2 * (n_heads - n_power) + 1, 2)
    full, half = -max_bias, -max_bias / 2
    return [2 ** (full * i / n_power) for i in range(1, n_power + 1)] + [2 ** (half * i / n_power) for i in odd_powers]


class RelativeBias(nn.Module):
    """T5's learned bias for each bucket of distance and each head (Raffel et al. 2020, section 2.1): [buckets, N]."""

    def __init__(self, part: spec.RelativeBias, n_heads: int) -> None:
        super().__init__()
        self.part = part
        self.weight = nn.Parameter(torch.empty(part.n_buckets, n_heads))

    def forward(self, distance_TS: Tensor, is_causal: bool) -> Tensor:
        """The bias [N, T, S] of distances [T, S], query minus key position."""
        return self.from_buckets(buckets(distance_TS, self.part, is_causal))

    def from_buckets(self, buckets_TS: Tensor) -> Tensor:
        """The bias [N, T, S] of buckets [T, S]."""
        bias_TSN: Tensor = self.weight[buckets_TS]
        return bias_TSN.movedim(-1, 0)


def buckets(distance_TS: Tensor, part: spec.RelativeBias, is_causal: bool) -> Tensor:
    """The bucket of each distance (T5's reference code): half for single distances, half in logarithmic steps.

    Bidirectional attention spends half of the buckets on keys after the query; causal attention never sees those.
    """
    if is_causal:
        return _one_sided(distance_TS.clamp(min=0), part.n_buckets, part.max_distance)
    n_side = part.n_buckets // 2
    return (distance_TS < 0) * n_side + _one_sided(distance_TS.abs(), max(n_side, 1), part.max_distance)


def _one_sided(distance_TS: Tensor, n_buckets: int, max_distance: int) -> Tensor:
    n_exact = max(n_buckets // 2, 1)
    # Where the last bucket lies before the single distances end, steps lead back, as in the reference code.
    octaves = math.log((max_distance if max_distance != n_exact else n_exact + 1) / n_exact)
    steps_TS = (distance_TS.clamp(min=1).float() / n_exact).log() / octaves * (n_buckets - n_exact)
    log_buckets_TS = (n_exact + steps_TS.long()).clamp(0, n_buckets - 1)
    return torch.where(distance_TS < n_exact, distance_TS.clamp(max=n_buckets - 1), log_buckets_TS)
