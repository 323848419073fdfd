"""What is added to the scores of an attention beside its products, computed from tensors of the layer.

Axes: B batch, N heads, K kv heads, T query tokens, S key tokens, H head width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import islice
from typing import TYPE_CHECKING, Self

from torch import Tensor

if TYPE_CHECKING:
    from archcalc.nn.attention_context import AttentionContext


class ScoreTerm(ABC):
    """A term of the scores."""

    @property
    @abstractmethod
    def heads(self) -> tuple[Tensor, ...]:
        """The tensors that it is computed from, which a checkpointed kernel reads."""

    @abstractmethod
    def with_heads(self, *heads: Tensor) -> Self:
        """Return a copy with these tensors."""

    @abstractmethod
    def scores(self, q_BNTH: Tensor, k_BNSH: Tensor, context: AttentionContext, scale: float) -> Tensor | None:
        """Return what is added to the scores, [B, N, T, S] or broadcast to it; None if nothing is."""

    def hidden(self, hidden_TS: Tensor | None) -> Tensor | None:
        """Return True where a query does not see a key, given the mask of those that it does not see otherwise."""
        return hidden_TS

    def sinks(self, sinks: Tensor | None) -> Tensor | None:
        """Return the sinks [N] or [B, N, T, 1], given those of the attention."""
        return sinks


def with_heads(terms: tuple[ScoreTerm, ...], heads: tuple[Tensor, ...]) -> tuple[ScoreTerm, ...]:
    """Return the terms with these tensors, those of the first term first."""
    found = iter(heads)
    return tuple(term.with_heads(*islice(found, len(term.heads))) for term in terms)
