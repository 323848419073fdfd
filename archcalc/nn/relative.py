"""Disentangled attention: relative positions as keys and queries (He et al. 2020, DeBERTa, section 3.1).

Axes: B batch, N heads, T query tokens, S key tokens, H head width, D model, R rows of the table of distances.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from archcalc.nn.attention_context import AttentionContext
from archcalc.nn.linear import EmbeddingTable, Linear
from archcalc.nn.norm import norm
from archcalc.nn.score_terms import ScoreTerm
from archcalc.spec import Spec
from archcalc.spec.attention import Attention
from archcalc.spec.position import Disentangled


@dataclass(frozen=True)
class RelativeHeads(ScoreTerm):
    """Relative positions as keys and as queries of each head, [N, R, H] each."""

    part: Disentangled
    keys: Tensor | None = None
    queries: Tensor | None = None

    @property
    def heads(self) -> tuple[Tensor, ...]:
        """Return those that there are."""
        return tuple(heads_NRH for heads_NRH in (self.keys, self.queries) if heads_NRH is not None)

    @property
    def device(self) -> torch.device:
        """Return the device that holds them."""
        return self.heads[0].device if self.heads else torch.device("cpu")

    def with_heads(self, *heads: Tensor) -> RelativeHeads:
        """Return a copy with these heads."""
        found = iter(heads)
        keys, queries = (None if heads_NRH is None else next(found) for heads_NRH in (self.keys, self.queries))
        return RelativeHeads(self.part, keys, queries)

    def scores(self, q_BNTH: Tensor, k_BNSH: Tensor, context: AttentionContext, scale: float) -> Tensor | None:
        """Return the products with contents [B, N, T, S]; None if there are none."""
        rows_TS, found = context.distance_rows(self.part), []
        if self.keys is not None:
            products_BNTR = q_BNTH @ self.keys.transpose(-1, -2)
            found.append(products_BNTR.gather(-1, rows_TS.expand(*products_BNTR.shape[:2], -1, -1)))
        if self.queries is not None:
            products_BNRS = self.queries @ k_BNSH.transpose(-1, -2)
            found.append(products_BNRS.gather(-2, rows_TS.expand(*products_BNRS.shape[:2], -1, -1)))
        return sum(found[1:], found[0]) * scale if found else None


class Relative(nn.Module):
    """The projections of relative positions of one layer; none of its own if it shares those of contents."""

    k: Linear | None
    q: Linear | None

    def __init__(self, part: Attention, model: Spec) -> None:
        super().__init__()
        position, width = part.position, part.n_heads * (part.d_head or 0)
        assert isinstance(position, Disentangled), "called only where there is one"
        self.part, self.n_heads = position, part.n_heads
        has_own = not position.shares_projections
        self.k = self.q = None
        if has_own and position.content_to_position:
            self.k = Linear(model.d_model, width, bias=position.key_bias)
        if has_own and position.position_to_content:
            self.q = Linear(model.d_model, width, bias=position.query_bias)

    def forward(self, q: nn.Module, k: nn.Module, context: AttentionContext) -> RelativeHeads:
        """Return the heads of relative positions; `q` and `k` are the projections of contents."""
        part, table_RD = self.part, context.distance_table
        assert table_RD is not None, "a stack whose layers use the table has one"
        n_cut = part.n_distances - context.nearest_rows(part)
        if n_cut:
            table_RD = table_RD[n_cut:-n_cut]
        keys = self._heads(self.k or k, table_RD) if part.content_to_position else None
        queries = self._heads(self.q or q, table_RD) if part.position_to_content else None
        return RelativeHeads(part, keys, queries)

    def _heads(self, project: Callable[[Tensor], Tensor], table_RD: Tensor) -> Tensor:
        """Map rows [R, D] to heads [N, R, H]."""
        return project(table_RD).view(len(table_RD), self.n_heads, -1).transpose(0, 1)


class DistanceTable(EmbeddingTable):
    """A stack's table of relative positions [2·n_distances, D]."""

    def __init__(self, part: Disentangled, model: Spec) -> None:
        super().__init__(2 * part.n_distances, model.d_model)
        self.norm = norm(part.norm, model.d_model) if part.norm else None

    def states(self) -> Tensor:
        """Return all rows [2·n_distances, D], normalized."""
        return self.weight if self.norm is None else self.norm(self.weight)
