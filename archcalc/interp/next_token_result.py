"""The result of comparing next tokens: distributions after one context or two."""

from __future__ import annotations

from typing import Annotated, Literal

from archcalc.results import Result, Row, Sureness, count, data, number, probability, text
from archcalc.run.decoding.sampling_options import Sampling
from archcalc.words import Message, in_context, msg

ContextName = Literal["A", "B"]


class TokenProbability(Row, frozen=True, kw_only=True):
    """A token after one context: its probability when sampled, the model's own probability, and its rank by the latter.

    `text` is None without a tokenizer.
    """

    context: Annotated[ContextName, text(msg("context"))]
    text: Annotated[str | None, number(msg("token"), "quoted")]
    id: Annotated[int, number(msg("id"), "words")]
    probability: Annotated[float, probability(msg("probability"))]
    model_probability: Annotated[float, number(msg("model's own"), "decimal")]
    rank: Annotated[int, count(in_context("place", "rank"))]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))] = "measured"


class ContextDistribution(Row, frozen=True, kw_only=True):
    """A context and the distribution of the next token.

    Of the sampling distribution: its entropy, and the `n_kept` tokens that can be sampled, whose probability before the
    cuts sums to `kept_probability`. `model_entropy_nats` is the entropy of the model's own distribution.
    """

    context: Annotated[ContextName, text(msg("context"))]
    text: Annotated[str, data(msg("text"))]
    ids: Annotated[tuple[int, ...], data(msg("token ids"))]
    entropy_nats: Annotated[float, number(msg("entropy, nats"), "decimal")]
    entropy_bits: Annotated[float, number(msg("entropy, bits"), "decimal")]
    model_entropy_nats: Annotated[float, number(msg("model's own entropy, nats"), "decimal")]
    n_kept: Annotated[int, count(msg("tokens that may be drawn"))]
    kept_probability: Annotated[float, number(msg("their probability before the cut"), "decimal")]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))] = "measured"


class DistributionDistance(Row, frozen=True, kw_only=True):
    """Distances of the distributions after A and B; an infinite divergence is None."""

    total_variation: Annotated[float, number(msg("total variation"), "decimal")]
    kl_nats: Annotated[float | None, number(msg("KL(A‖B), nats"), "decimal")]
    reverse_kl_nats: Annotated[float | None, number(msg("KL(B‖A), nats"), "decimal")]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))] = "measured"


class NextTokenDistributions(Result, frozen=True, kw_only=True):
    """The distribution after each context, and the likeliest tokens of all contexts by their highest probability."""

    name: Annotated[str, data(msg("name of the model"))]
    label: Annotated[str | Message, data(msg("title of the model"))]
    sampling: Annotated[Sampling, data(msg("how the next token is drawn"))]
    n_vocab: Annotated[int, data(msg("tokens of the vocabulary"))]
    contexts: Annotated[tuple[ContextDistribution, ...], data(msg("the distribution after each context"))]
    tokens: Annotated[tuple[TokenProbability, ...], data(msg("the likeliest tokens, each after every context"))]
    distance: Annotated[DistributionDistance | None, data(msg("distance of two distributions"))]

    @property
    def is_model_distribution(self) -> bool:
        """Return whether tokens are drawn by the model's own distribution."""
        return self.sampling == Sampling(temperature=1.0)
