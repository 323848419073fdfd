"""Positions as a bias on attention scores.

Axes: N heads, T query tokens, S key tokens.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from archcalc.spec import position as spec
from archcalc.spec.position import Disentangled


def alibi_bias(distance_TS: Tensor, n_heads: int, max_bias: float = 8.0) -> Tensor:
    """Return −slope · |distance| [N, T, S] (Press et al. 2021, section 3); a distance is query minus key position."""
    slopes_N = torch.tensor(alibi_slopes(n_heads, max_bias), device=distance_TS.device)
    return -slopes_N.view(-1, 1, 1) * distance_TS.abs()


def alibi_slopes(n_heads: int, max_bias: float = 8.0) -> list[float]:
    """Return 2^(−8i/n) for i = 1 … n heads; `max_bias` replaces the 8 (MPT).

    Between powers of two, the slopes of the next power at odd i are added (its reference code).
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
        self.weight = nn.Parameter(torch.empty(part.n_buckets + part.n_segments**2, n_heads))

    def forward(self, distance_TS: Tensor, is_causal: bool) -> Tensor:
        """Return the bias [N, T, S] of distances [T, S], query minus key position; with a batch before them both."""
        return self.from_buckets(buckets(distance_TS, self.part, is_causal))

    def from_buckets(self, buckets_TS: Tensor) -> Tensor:
        """Return the bias [N, T, S] of buckets [T, S]."""
        bias_TSN: Tensor = self.weight[buckets_TS]
        return bias_TSN.movedim(-1, -3)


class SummaryBias(RelativeBias):
    """The bias of summaries of blocks of n_block tokens, by distance in blocks (LongT5)."""

    def __init__(self, part: spec.RelativeBias, n_heads: int, n_block: int) -> None:
        super().__init__(part, n_heads)
        self.n_block = n_block


def buckets(distance_TS: Tensor, part: spec.RelativeBias, is_causal: bool) -> Tensor:
    """Return the bucket of each distance (T5's reference code): half for single distances, half in logarithmic steps.

    Bidirectional attention uses half of the buckets for keys after the query; causal attention never sees those.
    """
    if is_causal:
        return _one_sided(distance_TS.clamp(min=0), part.n_buckets, part.max_distance)
    n_side = part.n_buckets // 2
    return (distance_TS < 0) * n_side + _one_sided(distance_TS.abs(), max(n_side, 1), part.max_distance)


def segment_buckets(buckets_TS: Tensor, of_queries_T: Tensor, of_keys_S: Tensor, part: spec.RelativeBias) -> Tensor:
    """Return the bucket of each distance within a segment, and of each pair of different segments (CPM-Ant's code)."""
    queries_T1 = of_queries_T.unsqueeze(-1)
    pairs_TS = part.n_buckets + queries_T1 * part.n_segments + of_keys_S
    return torch.where(queries_T1 == of_keys_S, buckets_TS, pairs_TS)


def _one_sided(distance_TS: Tensor, n_buckets: int, max_distance: int) -> Tensor:
    n_exact = max(n_buckets // 2, 1)
    # If max_distance is less than n_exact, buckets decrease with the distance, as in the reference code.
    octaves = math.log((max_distance if max_distance != n_exact else n_exact + 1) / n_exact)
    steps_TS = (distance_TS.clamp(min=1).float() / n_exact).log() / octaves * (n_buckets - n_exact)
    log_buckets_TS = (n_exact + steps_TS.long()).clamp(0, n_buckets - 1)
    return torch.where(distance_TS < n_exact, distance_TS.clamp(max=n_buckets - 1), log_buckets_TS)


def distance_rows(distance_TS: Tensor, part: Disentangled, n_rows: int) -> Tensor:
    """Return the row of each distance among the `n_rows` nearest on either side (DeBERTa's code)."""
    if part.max_distance is not None:
        distance_TS = _log_distance(distance_TS, part.n_distances // 2, part.max_distance)
    return (distance_TS + n_rows).clamp(0, 2 * n_rows - 1)


def _log_distance(distance_TS: Tensor, n_exact: int, max_distance: int) -> Tensor:
    """Return distances up to `n_exact` as they are, and larger ones in logarithmic steps."""
    absolute_TS = distance_TS.abs().clamp(min=n_exact)
    octaves = torch.log(torch.tensor((max_distance - 1) / n_exact))
    steps_TS = torch.ceil(torch.log(absolute_TS / n_exact) / octaves.to(distance_TS.device) * (n_exact - 1)) + n_exact
    return torch.where(distance_TS.abs() <= n_exact, distance_TS, (steps_TS * distance_TS.sign()).long())
