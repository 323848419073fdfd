"""From token ids to states: the token table and what joins it."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from archcalc.spec.base import Count, Part, Positive, Probability, Size


class Factor(Part, frozen=True, kw_only=True):
    """A token table narrower than the model, and the projection that widens it.

    `widen` says when: before positions and the embedding norm are added (OPT-350m) or after them (ALBERT).
    """

    d_embed: Size
    bias: bool = False
    widen: Literal["before_positions", "after_positions"] = "before_positions"


class EmbeddingTable(Part, frozen=True, kw_only=True):
    """A further table whose rows join the tokens' (ERNIE's task types, XLM's languages).

    `default_row` is what every token reads if no rows are named; None: then nothing is added.
    """

    name: Annotated[str, msgspec.Meta(pattern="^[a-z][a-z0-9_]{0,30}$")]
    n_rows: Size
    default_row: Count | None = 0


class TokenDropout(Part, frozen=True, kw_only=True):
    """Masked tokens embed as zeros, and the rest is rescaled by (1 − share) / (1 − share of masked tokens) (ESM-2).

    `share` is how many tokens were masked in training: 0.15 · 0.8.
    """

    mask_id: Count
    share: Probability = 0.12


class Embedding(Part, frozen=True, kw_only=True):
    """The token table and what joins it. `scale` multiplies what the table gives."""

    factor: Factor | None = None
    n_token_types: Count = 0
    tables: tuple[EmbeddingTable, ...] = ()
    scale: Positive | None = None
    token_dropout: TokenDropout | None = None
