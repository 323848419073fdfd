"""Global tokens as queries: their scores and what they read, in the place of what other queries have.

Axes: B batch, N heads, T tokens, g global tokens, S key tokens, H head width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class GlobalRows(NamedTuple):
    """Queries of global tokens [B, N, g, H], and the keys and values [B, N, S, H] that they read.

    `indices` [B, g] are their places in the batch; None if they are the first tokens of every row.
    """

    queries: Tensor
    keys: Tensor
    read_values: Tensor
    indices: Tensor | None

    @property
    def heads(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values."""
        return self.queries, self.keys, self.read_values

    def with_heads(self, *heads: Tensor) -> GlobalRows:
        """Return a copy with these heads."""
        queries, keys, read_values = heads
        return GlobalRows(queries, keys, read_values, self.indices)

    def scores(self, scores_BNTS: Tensor, scale: float) -> Tensor:
        """Return the scores with those of global tokens in their rows."""
        return self._in_place(scores_BNTS, self.queries @ self.keys.transpose(-1, -2) * scale)

    def values(self, y_BNTH: Tensor, weights_BNTS: Tensor) -> Tensor:
        """Return what heads read, with what global tokens read in their rows."""
        if self.indices is None:
            rows_BNgS = weights_BNTS[:, :, : self.queries.shape[2]]
        else:
            rows_BNgS = weights_BNTS.gather(2, self._index(weights_BNTS))
        return self._in_place(y_BNTH, rows_BNgS @ self.read_values)

    def _in_place(self, x_BNTZ: Tensor, rows_BNgZ: Tensor) -> Tensor:
        if self.indices is None:
            return torch.cat((rows_BNgZ, x_BNTZ[:, :, rows_BNgZ.shape[2] :]), 2)
        return x_BNTZ.scatter(2, self._index(x_BNTZ), rows_BNgZ)

    def _index(self, x_BNTZ: Tensor) -> Tensor:
        assert self.indices is not None, "called only where rows are at different places"
        return self.indices[:, None, :, None].expand(-1, x_BNTZ.shape[1], -1, x_BNTZ.shape[3])
