"""The distribution of the next token after one context, or after two for comparison.

Axes: C contexts, V vocab.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, get_args

import msgspec
import torch
from torch import Tensor

from archcalc.errors import InputError
from archcalc.interp.distributions import divergence, entropy, in_bits, ranks, total_variation
from archcalc.interp.next_token_result import (
    ContextDistribution,
    ContextName,
    DistributionDistance,
    NextTokenDistributions,
    TokenProbability,
)
from archcalc.run.decoding.decoding_state import prefill
from archcalc.run.decoding.sampling import check_finite, distribution, penalize
from archcalc.run.decoding.sampling_options import Sampling
from archcalc.words import Message, msg

CONTEXT_NAMES: tuple[ContextName, ...] = get_args(ContextName)
MAX_CONTEXTS = len(CONTEXT_NAMES)
UNMODIFIED = Sampling(temperature=1.0)


class DisplayNames(msgspec.Struct, frozen=True):
    """What a result calls the model, its contexts and its tokens."""

    name: str = ""
    label: str | Message = ""
    texts: Sequence[str] = ("", "")
    piece: Callable[[int], str] = lambda _: ""


NO_NAMES = DisplayNames()


@torch.inference_mode()
def next_tokens(
    model: Any,
    contexts: Sequence[Sequence[int]],
    *,
    top: int = 10,
    sampling: Sampling = UNMODIFIED,
    start_id: int | None = None,
    labels: DisplayNames = NO_NAMES,
) -> NextTokenDistributions:
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
    return of_logits(logits_CV, seen, contexts, top=top, sampling=sampling, labels=labels)


def of_logits(
    logits_CV: Tensor,
    seen: Sequence[set[int]],
    contexts: Sequence[Sequence[int]],
    *,
    top: int = 10,
    sampling: Sampling = UNMODIFIED,
    labels: DisplayNames = NO_NAMES,
) -> NextTokenDistributions:
    """Return the same for given logits; the repetition penalty applies to the ids in `seen`."""
    check_finite(logits_CV.amax(-1))
    model_CV = distribution(logits_CV, UNMODIFIED)
    penalized_CV = penalize(logits_CV, seen, sampling.repetition_penalty)
    sampled_CV = distribution(penalized_CV, sampling)
    # The cuts apply at the same temperature; temperature 0 cuts all but the likeliest token of the model's own.
    uncut_CV = distribution(penalized_CV, Sampling(temperature=sampling.temperature or 1.0))
    rows = zip(CONTEXT_NAMES, labels.texts, contexts, sampled_CV, model_CV, uncut_CV, strict=False)
    return NextTokenDistributions(
        name=labels.name,
        label=labels.label,
        sampling=sampling,
        n_vocab=logits_CV.shape[-1],
        contexts=tuple(_context_distribution(*row) for row in rows),
        tokens=tuple(_token_probabilities(sampled_CV, model_CV, _likeliest(sampled_CV, model_CV, top), labels)),
        distance=_distance(*sampled_CV) if len(sampled_CV) == MAX_CONTEXTS else None,
    )


def _likeliest(sampled_CV: Tensor, model_CV: Tensor, top: int) -> Tensor:
    """Return the ids of the `top` tokens of every context, by sampling probability, then the model's own."""
    pairs = zip(sampled_CV, model_CV, strict=True)
    ids = {token for sampled_V, model_V in pairs for token in _order(sampled_V, model_V)[:top].tolist()}
    return torch.tensor([token for token in _order(sampled_CV.amax(0), model_CV.amax(0)).tolist() if token in ids])


def _order(sampled_V: Tensor, model_V: Tensor) -> Tensor:
    by_model_V = model_V.argsort(descending=True, stable=True)
    return by_model_V[sampled_V[by_model_V].argsort(descending=True, stable=True)]


def _token_probabilities(
    sampled_CV: Tensor, model_CV: Tensor, ids: Tensor, labels: DisplayNames
) -> Iterator[TokenProbability]:
    """Yield the rows of each context in turn, one for each token."""
    for context, sampled_V, model_V in zip(CONTEXT_NAMES, sampled_CV, model_CV, strict=False):
        for token, rank in zip(ids.tolist(), ranks(model_V, ids), strict=True):
            yield TokenProbability(
                context=context,
                text=labels.piece(token) or None,
                id=token,
                probability=float(sampled_V[token]),
                model_probability=float(model_V[token]),
                rank=rank,
            )


def _context_distribution(
    context: ContextName, text: str, ids: Sequence[int], sampled_V: Tensor, model_V: Tensor, uncut_V: Tensor
) -> ContextDistribution:
    nats, is_possible_V = entropy(sampled_V), sampled_V > 0
    return ContextDistribution(
        context=context,
        text=text,
        ids=tuple(ids),
        entropy_nats=nats,
        entropy_bits=in_bits(nats),
        model_entropy_nats=entropy(model_V),
        n_kept=int(is_possible_V.sum()),
        kept_probability=float(uncut_V[is_possible_V].sum()),
    )


def _distance(p_V: Tensor, q_V: Tensor) -> DistributionDistance:
    forward, reverse = divergence(p_V, q_V), divergence(q_V, p_V)
    return DistributionDistance(
        total_variation=total_variation(p_V, q_V), kl_nats=_finite(forward), reverse_kl_nats=_finite(reverse)
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
