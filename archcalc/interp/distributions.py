"""What is said of a distribution over tokens, and of how far two are apart (Cover & Thomas 2006, chapters 2 and 11).

Axes: V vocab. Probabilities are in float64 and sum to 1; logarithms are natural.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def entropy(p_V: Tensor) -> float:
    """−Σ p ln p in nats: ln V where all are alike, 0 where one token has it all."""
    return float(torch.special.entr(p_V).sum())


def in_bits(nats: float) -> float:
    """Nats in bits: ln 2 of them are one bit."""
    return nats / math.log(2)


def divergence(p_V: Tensor, q_V: Tensor) -> float:
    """Kullback and Leibler's KL(p‖q) = Σ p ln(p/q) in nats; infinite where q excludes what p may draw."""
    return max(0.0, float((torch.xlogy(p_V, p_V) - torch.xlogy(p_V, q_V)).sum()))


def total_variation(p_V: Tensor, q_V: Tensor) -> float:
    """½ Σ |p − q|: the most by which the two can differ about any set of tokens; from 0 to 1."""
    return float((p_V - q_V).abs().sum() / 2)


def ranks(p_V: Tensor, ids: Tensor) -> list[int]:
    """The place of each id among all tokens, the likeliest first: 1 and as many as are likelier."""
    found: list[int] = (1 + (p_V > p_V[ids, None]).sum(-1)).tolist()
    return found
