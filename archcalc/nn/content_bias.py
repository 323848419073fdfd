"""A bias on scores for each distance, which the query's token decides (Inkling).

Axes: B batch, N heads, T query tokens, S key tokens, D model, R profiles, E distances.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from archcalc.nn.attention_context import AttentionContext
from archcalc.nn.length_clip import clipped_length
from archcalc.nn.linear import Linear
from archcalc.nn.score_terms import ScoreTerm
from archcalc.spec import Spec
from archcalc.spec.position import ContentBias as Part


@dataclass(frozen=True)
class ContentTerm(ScoreTerm):
    """The numbers [B, T, N, R] by which each query mixes the profiles [R, E]."""

    part: Part
    shares: Tensor
    profiles: Tensor

    @property
    def heads(self) -> tuple[Tensor, ...]:
        """Return the numbers of the queries."""
        return (self.shares,)

    def with_heads(self, *heads: Tensor) -> ContentTerm:
        """Return a copy with these numbers."""
        return replace(self, shares=heads[0])

    def scores(self, q_BNTH: Tensor, k_BNSH: Tensor, context: AttentionContext, scale: float) -> Tensor:
        """Return the bias [B, N, T, S]: that of each distance, 0 beyond the last."""
        bias_BNTE = (self.shares @ self.profiles).transpose(1, 2)
        rows_TS, beyond_TS = context.content_rows(self.part)
        return bias_BNTE.gather(-1, rows_TS.expand(*bias_BNTE.shape[:2], -1, -1)).masked_fill(beyond_TS, 0.0)


class ContentBias(nn.Module):
    """A projection r of the layer's input, and the profiles that it mixes."""

    r_scale: nn.Parameter | None

    def __init__(self, part: Part, n_heads: int, model: Spec) -> None:
        super().__init__()
        self.part, self.n_heads = part, n_heads
        self.r = Linear(model.d_model, n_heads * part.d_rel, bias=False)
        self.r_scale = None if part.clip is None else nn.Parameter(torch.empty(n_heads, part.d_rel))
        self.profiles = nn.Parameter(torch.empty(part.d_rel, part.n_distances))

    def forward(self, x_BTD: Tensor, temperatures_T1: Tensor | None) -> ContentTerm:
        """Return the term of queries with these states, multiplied by their temperatures [T, 1] or [B, 1, T, 1]."""
        shares_BTNR = self.r(x_BTD).view(*x_BTD.shape[:-1], self.n_heads, -1)
        if self.part.clip is not None:
            shares_BTNR = clipped_length(shares_BTNR, self.part.clip, self.r_scale)
        if temperatures_T1 is not None:
            by_token = temperatures_T1.unsqueeze(-1) if temperatures_T1.dim() == 2 else temperatures_T1.transpose(1, 2)
            shares_BTNR = shares_BTNR * by_token
        return ContentTerm(self.part, shares_BTNR, self.profiles)
