"""Which token comes next, after one context or after two, side by side.

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

MOST = 2
PLAIN = Sampling(temperature=1.0)


class Place(msgspec.Struct, frozen=True):
    """A token in one context: its probability as it is drawn, as the model alone has it, and its rank by the latter."""

    probability: float
    model_probability: float
    rank: int


class Token(msgspec.Struct, frozen=True):
    """A token, and its place in each context."""

    id: int
    places: tuple[Place, ...]


class Context(msgspec.Struct, frozen=True):
    """A context's token ids, and what is said of the distribution after it.

    Of what is drawn by: `entropy_nats`, `entropy_bits`, and the `n_kept` tokens that may be drawn, which are `kept` of
    the probability before the cuts. `model_entropy_nats` is of the model's own distribution.
    """

    ids: tuple[int, ...]
    entropy_nats: float
    entropy_bits: float
    model_entropy_nats: float
    n_kept: int
    kept: float


class Apart(msgspec.Struct, frozen=True):
    """How far two distributions are apart; a divergence is None where it is infinite."""

    total_variation: float
    kl_nats: float | None
    kl_back_nats: float | None


class Next(msgspec.Struct, frozen=True):
    """What comes next after each context: the likeliest tokens of all of them, the likeliest anywhere first."""

    sampling: Sampling
    n_vocab: int
    contexts: tuple[Context, ...]
    tokens: tuple[Token, ...]
    apart: Apart | None


@torch.inference_mode()
def next_tokens(
    model: Any,
    contexts: Sequence[Sequence[int]],
    *,
    top: int = 10,
    sampling: Sampling = PLAIN,
    start_id: int | None = None,
) -> Next:
    """The `top` likeliest tokens after one context or two, each read alone, drawn as `sampling` says.

    `start_id` is the first token of an encoder-decoder's texts. Raises InputError for no context or more than two, and
    for what the model cannot read; NonFiniteLogitsError where its logits are none.
    """
    if not 1 <= len(contexts) <= MOST:
        raise InputError(
            msg("found {n_contexts}", n_contexts=len(contexts)),
            where="contexts",
            allowed=msg("1 or {MOST}, to be set side by side", MOST=MOST),
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
    sampling: Sampling = PLAIN,
) -> Next:
    """The same of logits that are there; `seen` are the ids that a repetition penalty falls on."""
    check_finite(logits_CV.amax(-1))
    model_CV = distribution(logits_CV, PLAIN)
    penalised_CV = penalize(logits_CV, seen, sampling.repetition_penalty)
    drawn_CV = distribution(penalised_CV, sampling)
    # What the cuts choose from: the same temperature, nothing cut. At 0 the likeliest is cut from the model's own.
    uncut_CV = distribution(penalised_CV, Sampling(temperature=sampling.temperature or 1.0))
    ids = _likeliest(drawn_CV, model_CV, top)
    places = list(
        zip(*(_places(drawn_V, own_V, ids) for drawn_V, own_V in zip(drawn_CV, model_CV, strict=True)), strict=True)
    )
    told = zip(contexts, drawn_CV, model_CV, uncut_CV, strict=True)
    return Next(
        sampling,
        logits_CV.shape[-1],
        tuple(_context(*one) for one in told),
        tuple(Token(token, place) for token, place in zip(ids.tolist(), places, strict=True)),
        _apart(*drawn_CV) if len(drawn_CV) == MOST else None,
    )


def _likeliest(drawn_CV: Tensor, model_CV: Tensor, top: int) -> Tensor:
    """The ids of every context's `top`: as they are drawn, those drawn alike as the model has them."""
    most_V, own_V = drawn_CV.amax(0), model_CV.amax(0)
    ids = {token for drawn, own in zip(drawn_CV, model_CV, strict=True) for token in _order(drawn, own)[:top].tolist()}
    return torch.tensor([token for token in _order(most_V, own_V).tolist() if token in ids])


def _order(drawn_V: Tensor, model_V: Tensor) -> Tensor:
    by_model_V = model_V.argsort(descending=True, stable=True)
    return by_model_V[drawn_V[by_model_V].argsort(descending=True, stable=True)]


def _places(drawn_V: Tensor, model_V: Tensor, ids: Tensor) -> list[Place]:
    found = zip(drawn_V[ids].tolist(), model_V[ids].tolist(), ranks(model_V, ids), strict=True)
    return [Place(*place) for place in found]


def _context(ids: Sequence[int], drawn_V: Tensor, model_V: Tensor, uncut_V: Tensor) -> Context:
    nats, kept_V = entropy(drawn_V), drawn_V > 0
    return Context(tuple(ids), nats, in_bits(nats), entropy(model_V), int(kept_V.sum()), float(uncut_V[kept_V].sum()))


def _apart(p_V: Tensor, q_V: Tensor) -> Apart:
    there, back = divergence(p_V, q_V), divergence(q_V, p_V)
    return Apart(total_variation(p_V, q_V), *(kl if math.isfinite(kl) else None for kl in (there, back)))
