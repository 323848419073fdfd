"""A bias of each key on its scores, computed from the values (Doge's dynamic mask).

Axes: B batch, N heads, K kv heads, T query tokens, S key tokens, U value width, Z all values of a key.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archcalc.nn.attention_context import AttentionContext
from archcalc.nn.linear import Linear
from archcalc.nn.score_terms import ScoreTerm
from archcalc.spec.attention import KeyBias as Part


@dataclass(frozen=True)
class KeyBiasTerm(ScoreTerm):
    """The biases [B, K, S] of keys, of which a query reads the `n_kept` largest."""

    n_heads: int
    n_kept: int | None
    biases: Tensor

    @property
    def heads(self) -> tuple[Tensor, ...]:
        """Return the biases."""
        return (self.biases,)

    def with_heads(self, *heads: Tensor) -> KeyBiasTerm:
        """Return a copy with these biases."""
        return replace(self, biases=heads[0])

    def scores(self, q_BNTH: Tensor, k_BNSH: Tensor, context: AttentionContext, scale: float) -> Tensor:
        """Return the bias of each head [B, N, 1, S]."""
        return self._by_head(self.biases).unsqueeze(2)

    def hidden(self, hidden_TS: Tensor | None) -> Tensor | None:
        """Return True [B, N, T, S] but where a key has one of the largest biases that the query sees."""
        if self.n_kept is None:
            return hidden_TS
        assert hidden_TS is not None, "a causal attention hides later keys"
        bias_BKTS = self.biases.detach().unsqueeze(2).masked_fill(hidden_TS, -torch.inf)
        best = bias_BKTS.topk(min(self.n_kept, bias_BKTS.shape[-1]), -1, sorted=False).indices
        unread_BKTS = torch.ones_like(bias_BKTS, dtype=torch.bool).scatter(-1, best, value=False)
        return self._by_head(unread_BKTS | hidden_TS)

    def _by_head(self, x: Tensor) -> Tensor:
        """Map [B, K, …] to [B, N, …]."""
        return x.repeat_interleave(self.n_heads // x.shape[1], 1)


class KeyBias(nn.Module):
    """exp(rate · softplus(steps(v))) of the values v of all heads."""

    def __init__(self, part: Part, n_heads: int, n_kv_heads: int, d_value: int) -> None:
        super().__init__()
        self.part, self.n_heads = part, n_heads
        self.steps = Linear(n_kv_heads * d_value, n_kv_heads, bias=part.bias)
        self.rate = nn.Parameter(torch.empty(n_kv_heads))

    def forward(self, v_BKSU: Tensor) -> KeyBiasTerm:
        """Return the biases of keys with these values."""
        v_BSZ = torch.cat(v_BKSU.unbind(1), -1)  # a copy, whatever the layout of the values
        steps_BSK = F.softplus(self.steps(v_BSZ))
        return KeyBiasTerm(self.n_heads, self.part.n_kept, (self.rate * steps_BSK).exp().transpose(1, 2))
