"""The output gate of an attention: an activated projection of the layer's input multiplies the heads' values.

Axes: B batch, T tokens, N heads, U value width, Z all gates of a token.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archcalc.nn.linear import Linear
from archcalc.nn.upcast import upcast
from archcalc.spec.attention import Gate

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": torch.sigmoid,
    "softplus": lambda x: F.softplus(upcast(x)).to(x.dtype),
}


def gate_weights(
    part: Gate | None, d_input: int, n_heads: int, d_value: int
) -> tuple[Linear | None, nn.Parameter | None]:
    """Return the projection of a gate, and its learned number for each head, if there are such."""
    if part is None:
        return None, None
    width = 1 if part.over == "head" else d_value
    bias = nn.Parameter(torch.empty(n_heads)) if part.bias else None
    return Linear(d_input, n_heads * width, bias=part.projection_bias), bias


def gates(part: Gate, projected_BTZ: Tensor, n_heads: int, bias_N: Tensor | None) -> Tensor:
    """Return gates [B, N, T, U], or [B, N, T, 1] of whole heads."""
    x_BNTU = torch.unflatten(projected_BTZ, -1, (n_heads, -1)).transpose(1, 2)
    if bias_N is not None:
        x_BNTU = x_BNTU + bias_N.view(-1, 1, 1)
    return _ACTIVATIONS[part.activation](x_BNTU)
