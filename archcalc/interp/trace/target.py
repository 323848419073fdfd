"""The probability and rank of one token as the next token."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from archcalc.errors import InputError
from archcalc.interp.distributions import ranks
from archcalc.interp.trace.run import Trace
from archcalc.words import msg


@dataclass(frozen=True)
class Target:
    """A token as the next one after the position of a trace; the likeliest token has rank 1."""

    id: int
    probability: float
    rank: int


def target(trace: Trace, token: int) -> Target:
    """Return the probability and rank of a token after the position of the trace.

    Raises InputError for a token outside the vocabulary.
    """
    p_V = trace["probabilities"][trace.position]
    if not 0 <= token < len(p_V):
        raise InputError(
            msg("found {found}", found=token), where="target", allowed=msg("0 to {last:,}", last=len(p_V) - 1)
        )
    return Target(token, float(p_V[token]), ranks(p_V, torch.tensor([token]))[0])
