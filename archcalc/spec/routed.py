"""Attention whose queries and outputs are projected by experts."""

from archcalc.spec.base import Part, Positive, Size
from archcalc.spec.position import Rope


class RoutedAttention(Part, frozen=True, kw_only=True, tag_field="kind", tag="routed"):
    """A mixture of attention heads (Zhang et al. 2022), as in JetMoE.

    An expert is a projection of queries [n_kv_heads · d_head, d_model] and one of outputs. A router chooses n_active of
    n_experts for each token: those with the largest logits, weighed by a softmax over them. So a token has n_active ·
    n_kv_heads query heads, first all of the first choice. One projection of keys and one of values serve all experts: a
    query head attends to the key-value head of its own place in its expert. The sum of the chosen experts' outputs has
    a bias if `out_bias`. Defaults: `d_head` is d_model / n_kv_heads, `scale` (of the scores) is 1/√d_head.
    """

    n_experts: Size
    n_active: Size
    n_kv_heads: Size
    d_head: Size | None = None
    position: Rope | None = None
    scale: Positive | None = None
    out_bias: bool = False

    @property
    def n_heads(self) -> int:
        """Return the number of query heads of a token."""
        return self.n_active * self.n_kv_heads

    @property
    def score_scale(self) -> float:
        """Return the factor of the scores."""
        assert self.d_head is not None, "the spec is resolved"
        return float(self.d_head**-0.5) if self.scale is None else self.scale
