"""The distribution of the next token after one context, or after two for comparison.

Axes: C contexts, V vocab.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import torch
from torch import Tensor

from archcalc.errors import InputError
from archcalc.interp.distributions import divergence, entropy, in_bits, ranks, total_variation
from archcalc.run.decoding.decoding_state import prefill
from archcalc.run.decoding.sampling import Sampling, check_finite, distribution, penalize
from archcalc.words import msg

MAX_CONTEXTS = 2
UNMODIFIED = Sampling(temperature=1.0)


class TokenProbability(msgspec.Struct, frozen=True):
    """A token in one context: its probability when sampled, the model's own probability, and its rank by the latter."""

    probability: float
    model_probability: float
    rank: int


class Token(msgspec.Struct, frozen=True):
    """A token and its probabilities in each context."""

    id: int
    places: tuple[TokenProbability, ...]


class ContextDistribution(msgspec.Struct, frozen=True):
    """A context's token ids and the distribution of the next token.

    Of the sampling distribution: its entropy, and the `n_kept` tokens that can be sampled, whose probability before the
    cuts sums to `kept`. `model_entropy_nats` is the entropy of the model's own distribution.
    """

    ids: tuple[int, ...]
    entropy_nats: float
    entropy_bits: float
    model_entropy_nats: float
    n_kept: int
    kept: float


class DistributionDistance(msgspec.Struct, frozen=True):
    """Distances of two distributions; an infinite divergence is None."""

    total_variation: float
    kl_nats: float | None
    kl_back_nats: float | None


class NextTokens(msgspec.Struct, frozen=True):
    """The distribution after each context, and the likeliest tokens of all contexts by their highest probability."""

    sampling: Sampling
    n_vocab: int
    contexts: tuple[ContextDistribution, ...]
    tokens: tuple[Token, ...]
    apart: DistributionDistance | None


@torch.inference_mode()
def next_tokens(
    model: Any,
    contexts: Sequence[Sequence[int]],
    *,
    top: int = 10,
    sampling: Sampling = UNMODIFIED,
    start_id: int | None = None,
) -> NextTokens:
    """Return the `top` likeliest tokens after one context or two, each read by itself.

    `start_id` is the decoder start token of an encoder-decoder. Raises InputError for no context, more than two, and
    ids that the model cannot read; NonFiniteLogitsError for logits that are not finite.
    """
    if not 1 <= len(contexts) <= MAX_CONTEXTS:
        raise InputError(
            msg("found {found}", found=len(contexts)),
            where="contexts",
            allowed=msg("1 or {n}", n=MAX_CONTEXTS),
        )
    readings = [prefill(model, [ids], 1, start_id) for ids in contexts]
    logits_CV = torch.cat([reading.logits_BV for reading in readings]).double().cpu()
    seen = [set(ids) for reading in readings for ids in reading.token_ids]
    return of_logits(logits_CV, seen, contexts, top=top, sampling=sampling)


def of_logits(
    logits_CV: Tensor,
    seen: Sequence[set[int]],
    contexts: Sequence[Sequence[int]],
    *,
    top: int = 10,
    sampling: Sampling = UNMODIFIED,
) -> NextTokens:
    """Return the same for given logits; the repetition penalty applies to the ids in `seen`."""
    check_finite(logits_CV.amax(-1))
    model_CV = distribution(logits_CV, UNMODIFIED)
    penalised_CV = penalize(logits_CV, seen, sampling.repetition_penalty)
    sampled_CV = distribution(penalised_CV, sampling)
    # The cuts apply at the same temperature; temperature 0 cuts all but the likeliest token of the model's own.
    uncut_CV = distribution(penalised_CV, Sampling(temperature=sampling.temperature or 1.0))
    ids = _likeliest(sampled_CV, model_CV, top)
    by_context = [
        _token_probabilities(sampled_V, model_V, ids) for sampled_V, model_V in zip(sampled_CV, model_CV, strict=True)
    ]
    rows = zip(contexts, sampled_CV, model_CV, uncut_CV, strict=True)
    return NextTokens(
        sampling,
        logits_CV.shape[-1],
        tuple(_context_distribution(*row) for row in rows),
        tuple(Token(token, row) for token, row in zip(ids.tolist(), zip(*by_context, strict=True), strict=True)),
        _distance(*sampled_CV) if len(sampled_CV) == MAX_CONTEXTS else None,
    )


def _likeliest(sampled_CV: Tensor, model_CV: Tensor, top: int) -> Tensor:
    """Return the ids of the `top` tokens of every context, by sampling probability, then the model's own."""
    pairs = zip(sampled_CV, model_CV, strict=True)
    ids = {token for sampled_V, model_V in pairs for token in _order(sampled_V, model_V)[:top].tolist()}
    return torch.tensor([token for token in _order(sampled_CV.amax(0), model_CV.amax(0)).tolist() if token in ids])


def _order(sampled_V: Tensor, model_V: Tensor) -> Tensor:
    by_model_V = model_V.argsort(descending=True, stable=True)
    return by_model_V[sampled_V[by_model_V].argsort(descending=True, stable=True)]


def _token_probabilities(sampled_V: Tensor, model_V: Tensor, ids: Tensor) -> list[TokenProbability]:
    rows = zip(sampled_V[ids].tolist(), model_V[ids].tolist(), ranks(model_V, ids), strict=True)
    return [TokenProbability(*row) for row in rows]


def _context_distribution(
    ids: Sequence[int], sampled_V: Tensor, model_V: Tensor, uncut_V: Tensor
) -> ContextDistribution:
    nats, is_possible_V = entropy(sampled_V), sampled_V > 0
    return ContextDistribution(
        ids=tuple(ids),
        entropy_nats=nats,
        entropy_bits=in_bits(nats),
        model_entropy_nats=entropy(model_V),
        n_kept=int(is_possible_V.sum()),
        kept=float(uncut_V[is_possible_V].sum()),
    )


def _distance(p_V: Tensor, q_V: Tensor) -> DistributionDistance:
    forward, reverse = divergence(p_V, q_V), divergence(q_V, p_V)
    return DistributionDistance(
        total_variation(p_V, q_V), *(kl if math.isfinite(kl) else None for kl in (forward, reverse))
    )
