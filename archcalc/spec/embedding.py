"""Embeddings: the token table and what is added to it."""

from typing import Annotated, Literal

import msgspec

from archcalc.spec.base import Count, Part, Positive, Probability, Size


class Factor(Part, frozen=True, kw_only=True):
    """A token table narrower than the model, and its projection to d_model.

    `widen`: the projection comes before positions and the embedding norm (OPT-350m) or after them (ALBERT). It reads
    the rows of `n_neighbors` tokens on each side beside the token's own, the last of them first, and zeros beyond the
    text (MobileBERT).
    """

    d_embed: Size
    bias: bool = False
    n_neighbors: Count = 0
    widen: Literal["before_positions", "after_positions"] = "before_positions"


class ExtraTable(Part, frozen=True, kw_only=True):
    """An extra table whose rows join the tokens' (ERNIE's task types, XLM's languages).

    `use`: its rows are added to the tokens', or put beside them, which needs a `join` (RoCBERT's shapes), or it is
    stored and never read. A table that is not added has a width of its own, `d_table`.
    Every token reads `default_row` unless rows are given; None: nothing is added then. A token reads the sum of
    `n_reads` rows (LayoutLM: those of the left and the right edge of its box).
    """

    name: Annotated[str, msgspec.Meta(pattern="^[a-z][a-z0-9_]{0,30}$")]
    n_rows: Size
    default_row: Count | None = 0
    n_reads: Size = 1
    use: Literal["added", "joined", "stored"] = "added"
    d_table: Size | None = None

    @property
    def is_read(self) -> bool:
        """Return whether a token reads a row of it if none is given."""
        return self.use != "stored" and self.default_row is not None


class Join(Part, frozen=True, kw_only=True):
    """The projection to d_model of a token's row and the rows of the `joined` tables beside it (RoCBERT)."""

    bias: bool = True


class TokenDropout(Part, frozen=True, kw_only=True):
    """Masked tokens embed as zeros, and the rest is rescaled by (1 − share) / (1 − share of masked tokens) (ESM-2).

    `share` is the share of masked tokens in training: 0.15 · 0.8.
    """

    mask_id: Count
    share: Probability = 0.12


class Embedding(Part, frozen=True, kw_only=True):
    """The token table and what is added to it. `scale` multiplies the rows of the table.

    With a `join` the rows of joined tables are put beside the token's and all are projected, before anything is added.
    """

    factor: Factor | None = None
    n_token_types: Count = 0
    tables: tuple[ExtraTable, ...] = ()
    join: Join | None = None
    scale: Positive | None = None
    token_dropout: TokenDropout | None = None
