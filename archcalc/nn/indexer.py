"""Indexers: small attentions that select the keys of each query.

Axes: B batch, T query tokens, S key tokens, D model, Q latent of queries, N the indexer's heads, H their width, R width
with position.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from archcalc.nn.attention_context import AttentionContext
from archcalc.nn.linear import Linear
from archcalc.nn.norm import norm
from archcalc.nn.rope import rotate
from archcalc.nn.taps.points import tap
from archcalc.nn.upcast import upcast
from archcalc.spec import Spec
from archcalc.spec import attention as spec


class Indexer(nn.Module):
    """Selects keys by Σ w·relu(q·k) over its heads (DeepSeek-V3.2); no gradient passes through it."""

    def __init__(self, part: spec.LatentAttention, own: spec.Indexer, model: Spec) -> None:
        super().__init__()
        assert part.q_rank is not None, "the spec is resolved"
        self.part, self.own = part, own
        self.q = Linear(part.q_rank, own.n_index_heads * own.d_index, bias=False)
        self.k = Linear(model.d_model, own.d_index, bias=False)
        self.k_norm = norm(own.norm, own.d_index)
        self.head_weights = Linear(model.d_model, own.n_index_heads, bias=False)

    @torch.no_grad()
    def forward(self, x_BTD: Tensor, latent_BTQ: Tensor, context: AttentionContext) -> Tensor:
        """Return True [B, 1, T, S] where a key is hidden from a query or not selected for it."""
        hidden_BTS = self._hidden(context)
        scores_BTS = self.scores(x_BTD, latent_BTQ, context)
        if hidden_BTS is not None:
            scores_BTS = scores_BTS.masked_fill(hidden_BTS, -torch.inf)
        scores_BTS = tap("index_scores", scores_BTS, context)
        # Of equal scores the first ones, whatever the number of keys: a step selects as a whole text does.
        order_BTS = scores_BTS.sort(dim=-1, descending=True, stable=True).indices
        selected_BTk = order_BTS[..., : self.own.n_selected]
        unselected_BTS = torch.ones_like(scores_BTS, dtype=torch.bool).scatter(-1, selected_BTk, False)
        return (unselected_BTS if hidden_BTS is None else unselected_BTS | hidden_BTS).unsqueeze(1)

    def scores(self, x_BTD: Tensor, latent_BTQ: Tensor, context: AttentionContext) -> Tensor:
        """Return the score [B, T, S] of each key, in float32 at least."""
        own = self.own
        q_BNTH = self.q(latent_BTQ).unflatten(-1, (own.n_index_heads, -1)).transpose(1, 2)
        q_BNTH = tap("index_q", self._rotate(q_BNTH, context))
        k_B1TH = self._rotate(self.k_norm(self.k(x_BTD)).unsqueeze(1), context)
        k_BSH = context.index_keys(tap("index_k", k_B1TH).squeeze(1))
        scores_BNTS = (upcast(q_BNTH) @ upcast(k_BSH).unsqueeze(1).transpose(-1, -2)) * own.d_index**-0.5
        weights_BTN = upcast(self.head_weights(x_BTD)) * own.n_index_heads**-0.5
        scores_BT1S = weights_BTN.unsqueeze(-2) @ scores_BNTS.relu().transpose(1, 2)
        scores_BTS: Tensor = scores_BT1S.squeeze(-2)
        return scores_BTS

    def _rotate(self, x_BNTH: Tensor, context: AttentionContext) -> Tensor:
        """Rotate d_rope dimensions by the angles of the attention."""
        assert self.part.position is not None, "the spec is resolved"
        tables = context.rotary_tables(self.part.position, x_BNTH.dtype)
        if self.own.rotated == "first":
            return rotate(x_BNTH, tables, self.own.interleaved)
        n_rest = self.own.d_index - self.part.d_rope
        rest, last = x_BNTH[..., :n_rest], x_BNTH[..., n_rest:]
        return torch.cat((rest, rotate(last, tables, self.own.interleaved)), -1)

    @staticmethod
    def _hidden(context: AttentionContext) -> Tensor | None:
        """Return True [T, S] or [B, T, S] where a query must not see a key; None if it sees all."""
        hidden = context.hidden_mask(None)
        return hidden if hidden is None or hidden.dim() == 2 else hidden[:, 0]
