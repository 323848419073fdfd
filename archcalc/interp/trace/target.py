"""One token as what may come next: its probability and its rank at the place that is looked at."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from archcalc.errors import InputError
from archcalc.interp.distributions import ranks
from archcalc.interp.trace.run import Trace
from archcalc.words import msg


@dataclass(frozen=True)
class Target:
    """A token after the place that a trace looks at; the likeliest has rank 1."""

    id: int
    probability: float
    rank: int


def target(trace: Trace, token: int) -> Target:
    """Return the probability and rank of a token after the place that a trace looks at.

    Raises InputError for a token that is not in the vocabulary.
    """
    p_V = trace["probabilities"][trace.position]
    if not 0 <= token < len(p_V):
        raise InputError(
            msg("found {token}", token=token), where="target", allowed=msg("0 to {n_p_V:,}", n_p_V=len(p_V) - 1)
        )
    return Target(token, float(p_V[token]), ranks(p_V, torch.tensor([token]))[0])
