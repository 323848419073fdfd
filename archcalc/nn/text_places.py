"""Where tokens are in their texts, for patterns that depend on the length of a text.

Axes: B batch, T tokens, G summaries of blocks.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from archcalc.nn import padding


@dataclass(frozen=True)
class TextPlaces:
    """The place of each token in its text, and the length of the text.

    Without padding `places` are [T] and `lengths` [1]. With padding they are [B, T] and [B, 1], and `hidden` [B, T] is
    True at padding, whose places are those of a neighbor.
    """

    places: Tensor
    lengths: Tensor
    hidden: Tensor | None

    @classmethod
    def of(cls, padding_BT: Tensor | None, n_tokens: int, device: torch.device) -> TextPlaces:
        """Return the places of the tokens of a batch."""
        if padding_BT is None:
            return cls(torch.arange(n_tokens, device=device), torch.full((1,), n_tokens, device=device), None)
        return cls(padding.token_positions(padding_BT), (~padding_BT).sum(1, keepdim=True), padding_BT)

    def unread(self, unread_TT: Tensor) -> Tensor:
        """Return a mask of pairs with padding as keys, which only a padded query sees: [B, 1, T, T], else [T, T]."""
        if self.hidden is None:
            return unread_TT
        itself_TT = torch.eye(self.places.shape[-1], dtype=torch.bool, device=self.places.device)
        return ((unread_TT | self.hidden.unsqueeze(-2)) & ~itself_TT).unsqueeze(1)

    def distances(self) -> Tensor:
        """Return query minus key place [T, T] or [B, T, T]."""
        return self.places.unsqueeze(-1) - self.places.unsqueeze(-2)

    def whole_blocks(self, n_block: int) -> Tensor:
        """Return the number of whole blocks of each text, [1] or [B, 1]."""
        return self.lengths // n_block

    def blocks(self, n_block: int) -> Tensor:
        """Return the block of each token [T] or [B, T]; what is left over is in the last whole one, −1 without any."""
        return torch.minimum(self.places // n_block, self.whole_blocks(n_block) - 1)

    def block_numbers(self, n_block: int) -> Tensor:
        """Return the numbers [G] of the blocks that the longest text may have."""
        return torch.arange(self.places.shape[-1] // n_block, device=self.places.device)

    def block_distances(self, n_block: int) -> Tensor:
        """Return the block of each query minus that of each summary: [T, G] or [B, T, G]."""
        return self.blocks(n_block).unsqueeze(-1) - self.block_numbers(n_block)

    def block_members(self, n_block: int, dtype: torch.dtype) -> Tensor:
        """Return 1 where a token is in a block and 0 elsewhere, [G, T] or [B, G, T]."""
        members = self.blocks(n_block).unsqueeze(-2) == self.block_numbers(n_block).unsqueeze(-1)
        return (members if self.hidden is None else members & ~self.hidden.unsqueeze(-2)).to(dtype)
