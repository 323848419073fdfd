"""Attention of an encoder by relative positions that are projected in every layer (Transformer-XL)."""

from archcalc.spec.base import Part, Size


class XlAttention(Part, frozen=True, kw_only=True, tag_field="kind", tag="xl"):
    """Multi-head attention whose scores are (q + u)·k + (q + v)·r (Dai et al. 2019, section 3.3; XLNet).

    r is a projection of the sinusoids of the distance between query and key, u and v are learned for each head.
    Distances beyond `max_distance` count as that one. `d_head` is d_model / n_heads by default. Each layer also stores
    what it would add for tokens of the same and of another segment, which texts without segments do not use.
    """

    n_heads: Size
    d_head: Size | None = None
    max_distance: Size | None = None

    @property
    def score_scale(self) -> float:
        """Return the factor of the scores."""
        assert self.d_head is not None, "the spec is resolved"
        return float(self.d_head**-0.5)
