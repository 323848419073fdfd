"""Global tokens of a stack: learned states after those of the text.

Axes: B batch, T tokens of the text, R tokens of the text and global ones, g global tokens, D model.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from archcalc.nn.linear import EmbeddingTable
from archcalc.nn.text_places import TextPlaces
from archcalc.spec import Spec
from archcalc.spec.layer import GlobalTokens as GlobalTokensPart


class GlobalTokens(EmbeddingTable):
    """The table of the first states [g, D] of global tokens."""

    def __init__(self, part: GlobalTokensPart, model: Spec) -> None:
        super().__init__(part.n_tokens, model.d_model)

    def after(self, x_BTD: Tensor) -> Tensor:
        """Return the states of the text's tokens, then those of global ones: [B, R, D]."""
        return torch.cat((x_BTD, self.weight.to(x_BTD.dtype).expand(len(x_BTD), -1, -1)), 1)

    def text(self, x_BRD: Tensor) -> Tensor:
        """Return a copy of the states of the text's tokens [B, T, D]."""
        return x_BRD[:, : -self.num_embeddings].clone(memory_format=torch.contiguous_format)


def normed_apart(x_BRD: Tensor, n_global: int, of_text: nn.Module, of_global: nn.Module) -> Tensor:
    """Return the states after one norm for the text's tokens and another for global ones."""
    return torch.cat((of_text(x_BRD[:, :-n_global]), of_global(x_BRD[:, -n_global:])), 1)


def read_by_all(unread: Tensor, n_global: int, places: TextPlaces) -> Tensor:
    """Return a mask of pairs [T, T], or [B, 1, T, T] with padding, with global tokens, which read all but padding."""
    if not n_global:
        return unread
    *batch, n_tokens, _ = unread.shape
    wide = torch.cat((unread, unread.new_zeros(*batch, n_tokens, n_global)), -1)
    rows = unread.new_zeros(*batch, n_global, n_tokens + n_global)
    if places.hidden is not None:
        rows[..., :n_tokens] = places.hidden[:, None, None]
    return torch.cat((wide, rows), -2)
