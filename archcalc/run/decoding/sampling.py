"""Choose the next token: turn logits into a distribution, and sample from it.

Axes: B batch, V vocab, S distinct tokens seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence, Set

import torch
import torch.nn.functional as F
from torch import Tensor

from archcalc.errors import ArchcalcError
from archcalc.run.decoding.sampling_options import FILTER_NAMES, Sampling
from archcalc.words import msg


class NonFiniteLogitsError(ArchcalcError):
    """Logits that are infinite or NaN."""

    exit_code = 1


Filter = Callable[[Tensor, float], Tensor]


def penalize(logits_BV: Tensor, seen: Sequence[Set[int]], penalty: float) -> Tensor:
    """Return the logits with the tokens that each row has `seen` made less likely."""
    if penalty == 1:
        return logits_BV
    penalized_BV = logits_BV.clone()
    for logits_V, ids in zip(penalized_BV, seen, strict=True):
        ids_S = torch.tensor(sorted(ids), dtype=torch.long, device=logits_V.device)
        logits_S = logits_V[ids_S]
        logits_V[ids_S] = torch.where(logits_S > 0, logits_S / penalty, logits_S * penalty)
    return penalized_BV


def choose_tokens(
    logits_BV: Tensor, sampling: Sampling, seen: Sequence[Set[int]], generators: Sequence[torch.Generator]
) -> list[int]:
    """Return the next id of each row; `seen` has each row's ids so far, `generators` one generator per row.

    Raise NonFiniteLogitsError if the logits are not finite, as with broken weights.
    """
    logits_BV = penalize(logits_BV, seen, sampling.repetition_penalty)
    best = logits_BV.max(-1)
    check_finite(best.values)
    ids_B = best.indices if sampling.is_greedy else draw(distribution(logits_BV, sampling), generators)
    ids: list[int] = ids_B.tolist()
    return ids


def check_finite(largest_B: Tensor) -> None:
    """Raise NonFiniteLogitsError unless the largest logit of each row is finite."""
    if not all(map(math.isfinite, largest_B.tolist())):
        raise NonFiniteLogitsError(
            msg("the model's logits are not finite numbers: its weights are broken, or too coarse a dtype")
        )


def distribution(logits_BV: Tensor, sampling: Sampling) -> Tensor:
    """Return the probabilities [B, V] of the next token, in float64; at temperature 0 the likeliest token has 1.

    >>> [round(p, 3) for p in distribution(torch.tensor([[2.0, 1.0, 0.1]]), Sampling(temperature=1.0))[0].tolist()]
    [0.659, 0.242, 0.099]
    """
    logits_BV = logits_BV.double()
    if sampling.is_greedy:
        return torch.zeros_like(logits_BV).scatter(-1, logits_BV.argmax(-1, keepdim=True), 1.0)
    # Relative to the largest, so that no temperature overflows.
    below_BV = logits_BV - logits_BV.amax(-1, keepdim=True)
    probabilities_BV = (below_BV / sampling.temperature).softmax(-1)
    for name in FILTER_NAMES:
        value = getattr(sampling, name)
        if value is not None:
            probabilities_BV = probabilities_BV.masked_fill(~FILTERS[name](probabilities_BV, value), 0.0)
            probabilities_BV = probabilities_BV / probabilities_BV.sum(-1, keepdim=True)
    return probabilities_BV


def draw(probabilities_BV: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
    """Sample an id [B] per row with the row's own generator, so that rows do not influence each other.

    Take the first token whose cumulative probability exceeds a uniform number from [0, 1), never one of probability 0.
    """
    uniform_B1 = torch.tensor(
        [[torch.rand((), generator=generator, dtype=torch.float64).item()] for generator in generators]
    )
    cumulated_BV = probabilities_BV.double().cumsum(-1)
    uniform_B1 = uniform_B1.to(cumulated_BV) * cumulated_BV[:, -1:]
    return torch.searchsorted(cumulated_BV, uniform_B1, right=True).squeeze(-1)


def _top_k(probabilities_BV: Tensor, k: float) -> Tensor:
    """Keep the k likeliest tokens, and ties with the last of them."""
    least_B1 = probabilities_BV.topk(min(int(k), probabilities_BV.shape[-1]), dim=-1).values[:, -1:]
    return probabilities_BV >= least_B1


def _top_p(probabilities_BV: Tensor, p: float) -> Tensor:
    """Keep a token if the likelier ones sum to less than p."""
    ordered_BV, order_BV = probabilities_BV.sort(dim=-1, descending=True, stable=True)
    before_BV = F.pad(ordered_BV.cumsum(-1)[:, :-1], (1, 0))
    return torch.zeros_like(before_BV, dtype=torch.bool).scatter(-1, order_BV, before_BV < p)


def _min_p(probabilities_BV: Tensor, share: float) -> Tensor:
    """Keep tokens with this share of the largest probability."""
    return probabilities_BV >= share * probabilities_BV.amax(-1, keepdim=True)


# A new filter is a line here, a name in FILTER_NAMES and a field of Sampling.
FILTERS: dict[str, Filter] = {"top_k": _top_k, "top_p": _top_p, "min_p": _min_p}
