"""Tokens to states: the token table, token types, and the projection of a narrow table.

Axes: B batch, T tokens, W the width at which tokens, types and positions are summed, D model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archcalc.nn.linear import EmbeddingTable, Linear
from archcalc.spec import Spec


class Embedding(nn.Module):
    """The token table [V, d_embed or D], shared by both stacks of an encoder-decoder."""

    types: EmbeddingTable | None
    tables: nn.ModuleDict
    project: Linear | None
    join: Linear | None

    def __init__(self, model: Spec) -> None:
        super().__init__()
        part, factor = model.embedding, model.embedding.factor
        self.part, self.scale = part, part.scale
        self.projection_stage = factor.widen if factor else None
        self.tokens = EmbeddingTable(model.vocab_size, factor.d_embed if factor else model.d_model)
        self.types = EmbeddingTable(part.n_token_types, summed_width(model)) if part.n_token_types else None
        self.tables = nn.ModuleDict(
            {table.name: EmbeddingTable(table.n_rows, table.d_table or summed_width(model)) for table in part.tables}
        )
        self.join = None
        if part.join:
            widths = (table.d_table for table in part.tables if table.use == "joined" and table.d_table)
            self.join = Linear(model.d_model + sum(widths), model.d_model, bias=part.join.bias)
        self.n_neighbors = factor.n_neighbors if factor else 0
        read = 2 * self.n_neighbors + 1
        self.project = Linear(read * factor.d_embed, model.d_model, bias=factor.bias) if factor else None

    def forward(
        self,
        ids_BT: Tensor,
        token_types_BT: Tensor | None = None,
        rows: Mapping[str, Tensor] | None = None,
        padding_BT: Tensor | None = None,
    ) -> Tensor:
        """Return tokens plus their types [B, T, W]; the type defaults to 0 (BERT; Devlin et al. 2018, section 3).

        `rows` are row indices of further tables, by name: [B, T], or [B, T, n] where tokens read n rows each.
        """
        rows_BTE = self._with_neighbors(self.token_rows(ids_BT, padding_BT), padding_BT)
        x_BTW = self._project_at(rows_BTE, "before_positions")
        x_BTW = self._joined(x_BTW, ids_BT, rows or {})
        if self.types is not None:
            x_BTW = x_BTW + self.types(ids_BT * 0 if token_types_BT is None else token_types_BT)
        for y_BTW in self._table_rows("added", ids_BT, rows or {}):
            x_BTW = x_BTW + y_BTW
        return x_BTW

    def _with_neighbors(self, rows_BTE: Tensor, padding_BT: Tensor | None) -> Tensor:
        """Return the rows of the tokens after, of each token, and of those before (Sun et al. 2020, section 4.2)."""
        n = self.n_neighbors
        if not n:
            return rows_BTE
        text_BTE = rows_BTE if padding_BT is None else rows_BTE.masked_fill(padding_BT.unsqueeze(-1), 0.0)
        wide_BTE = F.pad(text_BTE, (0, 0, n, n))
        n_tokens = rows_BTE.shape[1]
        return torch.cat([wide_BTE[:, shift : shift + n_tokens] for shift in range(2 * n, -1, -1)], -1)

    def _joined(self, x_BTD: Tensor, ids_BT: Tensor, rows: Mapping[str, Tensor]) -> Tensor:
        """Project tokens [B, T, D] and the rows beside them to [B, T, D] (RoCBERT; Su et al. 2022)."""
        if self.join is None:
            return x_BTD
        y_BTD: Tensor = self.join(torch.cat((x_BTD, *self._table_rows("joined", ids_BT, rows)), -1))
        return y_BTD

    def _table_rows(self, use: str, ids_BT: Tensor, rows: Mapping[str, Tensor]) -> Iterator[Tensor]:
        """Yield what tokens read from each extra table with this use [B, T, the table's width]."""
        for table in self.part.tables:
            rows_BT = rows.get(table.name)
            if rows_BT is None and table.default_row is not None:
                rows_BT = torch.full_like(ids_BT, table.default_row)
                rows_BT = rows_BT.unsqueeze(-1).repeat(1, 1, table.n_reads) if table.n_reads > 1 else rows_BT
            if rows_BT is not None and table.use == use:
                y: Tensor = self.tables[table.name](rows_BT)
                yield y.sum(-2) if table.n_reads > 1 else y

    def to_model_width(self, x_BTW: Tensor) -> Tensor:
        """Project the sum of tokens, types and positions to [B, T, D] (ALBERT; Lan et al. 2019, section 3.1)."""
        return self._project_at(x_BTW, "after_positions")

    def token_states(self, ids_BT: Tensor) -> Tensor:
        """Return the states [B, T, D] of tokens without types or positions."""
        x_BTW = self._project_at(self._with_neighbors(self.token_rows(ids_BT), None), "before_positions")
        return self.to_model_width(self._joined(x_BTW, ids_BT, {}))

    def token_rows(self, ids_BT: Tensor, padding_BT: Tensor | None = None) -> Tensor:
        """Return the scaled rows of the token table."""
        x: Tensor = self.tokens(ids_BT)
        return self._apply_token_dropout(x if self.scale is None else x * self.scale, ids_BT, padding_BT)

    def _apply_token_dropout(self, x_BTW: Tensor, ids_BT: Tensor, padding_BT: Tensor | None) -> Tensor:
        """Zero masked tokens, and scale the others up to compensate (ESM-2, Lin et al. 2022, its code)."""
        part = self.part.token_dropout
        if part is None:
            return x_BTW
        is_text_BT = torch.ones_like(ids_BT, dtype=torch.bool) if padding_BT is None else ~padding_BT
        is_masked_BT = is_text_BT & (ids_BT == part.mask_id)
        n_text_B1, n_masked_B1 = is_text_BT.sum(1, keepdim=True), is_masked_BT.sum(1, keepdim=True)
        # The clamp avoids 0 / 0 in a row that is masked altogether.
        factors_B1 = (1 - part.share) * n_text_B1 / (n_text_B1 - n_masked_B1).clamp(min=1)
        factors_BT = torch.where(is_masked_BT, 0.0, factors_B1)
        return x_BTW * factors_BT.unsqueeze(-1).to(x_BTW.dtype)

    def _project_at(self, x: Tensor, stage: str) -> Tensor:
        if self.project is None or self.projection_stage != stage:
            return x
        y: Tensor = self.project(x)
        return y


def summed_width(model: Spec) -> int:
    """Return the width at which tokens, types and positions are summed and normed."""
    factor = model.embedding.factor
    return factor.d_embed if factor and factor.widen == "after_positions" else model.d_model
