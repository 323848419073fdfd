"""Attention of an encoder that has a convolution over the tokens beside it."""

from archcalc.spec.base import Part, Positive, Size


class ConvolvedAttention(Part, frozen=True, kw_only=True, tag_field="kind", tag="convolved"):
    """Multi-head attention of an encoder with convolutions over the tokens around each.

    `d_value_conv`: the values of each head, convolved over so many tokens by a filter of the head, are added to what
    the head gives (Nyströmformer, Xiong et al. 2021, section 3.3). `d_span_conv`: there are n_heads more heads, without
    scores. Each sums a projection of the so many tokens around, weighted by a kernel that follows from the query and
    from a convolution of the layer's input (ConvBERT, Jiang et al. 2020, section 2.2).

    With `n_hashes` n, the weight of a key is (1 − angle / π)ⁿ, the probability that n random planes do not part it from
    the query, and what a head reads is scaled to length 1; there is no softmax (YOSO, Zeng et al. 2021, section 3).

    `d_head` is d_model / n_heads by default, `scale` (of the scores) 1/√d_head.
    """

    n_heads: Size
    d_head: Size | None = None
    d_value_conv: Size | None = None
    d_span_conv: Size | None = None
    n_hashes: Size | None = None
    q_bias: bool = False
    k_bias: bool = False
    v_bias: bool = False
    out_bias: bool = False
    scale: Positive | None = None

    @property
    def score_scale(self) -> float:
        """Return the factor of the scores."""
        assert self.d_head is not None, "the spec is resolved"
        return float(self.d_head**-0.5) if self.scale is None else self.scale

    @property
    def has_span(self) -> bool:
        """Return whether there are heads that are convolutions."""
        return self.d_span_conv is not None
