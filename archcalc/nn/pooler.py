"""One state of a whole text: a token's, the mean, or a dense layer of the first token's.

Axes: B batch, T tokens, D model.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from archcalc.nn.activation import ACTIVATIONS
from archcalc.nn.linear import Linear
from archcalc.spec import Spec
from archcalc.spec import model as spec

Pick = Callable[[Tensor, Tensor | None], Tensor]


class Pooler(Linear):
    """activation(x·Wᵀ + b) of the first token's state (BERT; Devlin et al. 2018, section 3)."""

    def __init__(self, part: spec.Pooler, model: Spec) -> None:
        super().__init__(model.d_model, model.d_model)
        self.part = part

    def forward(self, x_BTD: Tensor, padding_BT: Tensor | None = None) -> Tensor:
        """Map the last states [B, T, D] to [B, 1, D]."""
        return ACTIVATIONS[self.part.activation](super().forward(first_token(x_BTD, padding_BT)))


def all_tokens(x_BTD: Tensor, padding_BT: Tensor | None) -> Tensor:
    """Return all states."""
    return x_BTD


def first_token(x_BTD: Tensor, padding_BT: Tensor | None) -> Tensor:
    """Return the state [B, 1, D] of each row's first token."""
    return x_BTD[:, :1] if padding_BT is None else _select(x_BTD, (~padding_BT).int().argmax(1))


def last_token(x_BTD: Tensor, padding_BT: Tensor | None) -> Tensor:
    """Return the state [B, 1, D] of each row's last token."""
    if padding_BT is None:
        return x_BTD[:, -1:]
    return _select(x_BTD, padding_BT.shape[1] - 1 - (~padding_BT).int().flip(1).argmax(1))


def mean_state(x_BTD: Tensor, padding_BT: Tensor | None) -> Tensor:
    """Return the mean [B, 1, D] over each row's tokens."""
    if padding_BT is None:
        return x_BTD.mean(1, keepdim=True)
    is_token_BT1 = (~padding_BT).unsqueeze(-1)
    return (x_BTD * is_token_BT1).sum(1, keepdim=True) / is_token_BT1.sum(1, keepdim=True)


PICKS: dict[spec.HeadReads, Pick] = {
    "every": all_tokens,
    "pooled": all_tokens,
    "first": first_token,
    "last": last_token,
    "mean": mean_state,
}


def _select(x_BTD: Tensor, positions_B: Tensor) -> Tensor:
    return x_BTD[torch.arange(len(x_BTD), device=x_BTD.device), positions_B].unsqueeze(1)
