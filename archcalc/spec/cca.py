"""Compressed convolutional attention."""

from archcalc.spec.base import Part, Positive, Size
from archcalc.spec.norm import RMSNorm
from archcalc.spec.position import Rope


class ConvolutionalAttention(Part, frozen=True, kw_only=True, tag_field="kind", tag="cca"):
    """Compressed convolutional attention (Figliolia et al. 2025), as in ZAYA1.

    Projected queries and keys pass two causal convolutions, both with a bias: of each channel over d_conv tokens, then
    of the channels of each head over d_group_conv tokens. Added to a query is the mean of the query and its key as they
    were projected, to a key the mean of that over its queries. Both are normalized, and the keys of a head multiplied
    by a learned number, before they are rotated.

    Of the values of all heads, side by side, the last `d_before` (default: half) are projected from the token before,
    which is 0 before the first. A cache keeps the inputs of the convolutions and these values of the last token,
    besides keys and values. `bias` is that of all projections into heads. With a `window`, a query attends to the last
    so many tokens, itself included. Defaults: `n_kv_heads` is n_heads, `d_head` is d_model / n_heads, `scale` (of the
    scores) is 1/√d_head.
    """

    n_heads: Size
    n_kv_heads: Size | None = None
    d_head: Size | None = None
    d_conv: Size = 2
    d_group_conv: Size = 2
    d_before: Size | None = None
    norm: RMSNorm = RMSNorm(weight=False)
    position: Rope | None = None
    window: Size | None = None
    scale: Positive | None = None
    bias: bool = False
    out_bias: bool = False

    @property
    def score_scale(self) -> float:
        """Return the factor of the scores."""
        assert self.d_head is not None, "the spec is resolved"
        return float(self.d_head**-0.5) if self.scale is None else self.scale

    @property
    def has_one_head(self) -> bool:
        """Return whether there is a single query head."""
        return self.n_heads == 1
