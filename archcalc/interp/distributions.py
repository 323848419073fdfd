"""Entropy and distances of distributions over tokens (Cover & Thomas 2006, chapters 2 and 11).

Axes: V vocab. Probabilities are float64 and sum to 1; logarithms are natural.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def entropy(p_V: Tensor) -> float:
    """Return −Σ p ln p in nats: ln V for a uniform distribution, 0 if one token has probability 1."""
    return float(torch.special.entr(p_V).sum())


def in_bits(nats: float) -> float:
    """Return nats converted to bits."""
    return nats / math.log(2)


def divergence(p_V: Tensor, q_V: Tensor) -> float:
    """Return the Kullback–Leibler divergence KL(p‖q) = Σ p ln(p/q) in nats, infinite if q is 0 where p is not."""
    return max(0.0, float((torch.xlogy(p_V, p_V) - torch.xlogy(p_V, q_V)).sum()))


def total_variation(p_V: Tensor, q_V: Tensor) -> float:
    """Return ½ Σ |p − q|: the largest difference in probability over all sets of tokens, from 0 to 1."""
    return float((p_V - q_V).abs().sum() / 2)


def ranks(p_V: Tensor, ids: Tensor) -> list[int]:
    """Return the rank of each id: 1 plus the number of likelier tokens."""
    id_ranks: list[int] = (1 + (p_V > p_V[ids, None]).sum(-1)).tolist()
    return id_ranks
