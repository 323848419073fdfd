"""Sinks of a softmax that each token computes (Inkling 2).

Axes: B batch, N heads, T query tokens, S key tokens, H head width, D model.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from archcalc.nn.attention_context import AttentionContext
from archcalc.nn.linear import Linear
from archcalc.nn.score_terms import ScoreTerm


@dataclass(frozen=True)
class SinkTerm(ScoreTerm):
    """A score [B, N, T, 1] of each query without a value."""

    logits: Tensor

    @classmethod
    def of(cls, sink: Linear, x_BTD: Tensor) -> SinkTerm:
        """Return the sinks of queries with these states."""
        return cls(sink(x_BTD).transpose(1, 2).unsqueeze(-1))

    @property
    def heads(self) -> tuple[Tensor, ...]:
        """Return the scores."""
        return (self.logits,)

    def with_heads(self, *heads: Tensor) -> SinkTerm:
        """Return a copy with these scores."""
        return replace(self, logits=heads[0])

    def scores(self, q_BNTH: Tensor, k_BNSH: Tensor, context: AttentionContext, scale: float) -> None:
        """Return None: the scores of keys stay as they are."""

    def sinks(self, sinks: Tensor | None) -> Tensor:
        """Return the scores."""
        return self.logits
