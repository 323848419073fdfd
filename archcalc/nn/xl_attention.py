"""Attention of an encoder by relative positions that are projected in every layer.

Axes: B batch, T query tokens, S keys, R distances, D model, N heads, H head width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archcalc.nn.attention_context import AttentionContext
from archcalc.nn.taps.points import tap
from archcalc.nn.upcast import upcast_dtype
from archcalc.spec import Spec
from archcalc.spec import xl as spec
from archcalc.spec.execution import Execution


class XlAttention(nn.Module):
    """Scores of contents and of distances, each with a learned bias of the query (Dai et al. 2019, section 3.3)."""

    def __init__(self, part: spec.XlAttention, model: Spec) -> None:
        super().__init__()
        assert part.d_head is not None, "the spec is resolved"
        self.part, self.execution, self.dropout = part, Execution(), model.dropout.attention
        heads = part.n_heads, part.d_head
        self.q, self.k, self.v, self.r = (HeadMatrices(model.d_model, *heads) for _ in range(4))
        self.out = HeadSum(model.d_model, *heads)
        self.content_bias, self.position_bias, self.segment_bias = (nn.Parameter(torch.empty(heads)) for _ in range(3))
        self.segments = nn.Parameter(torch.empty(2, *heads))

    def forward(self, x_BTD: Tensor, context: AttentionContext) -> Tensor:
        """Map states [B, T, D] to states [B, T, D]."""
        q_BNTH, k_BNSH, v_BNSH = (tap(name, self.get_submodule(name)(x_BTD)) for name in "qkv")
        key = ("distances", self.part.max_distance, x_BTD.dtype)
        r_BNRH = self.r(context.memo(key, lambda: distance_sinusoids(x_BTD, self.part.max_distance)))
        content_BNTS = (q_BNTH + self.content_bias.unsqueeze(1)) @ k_BNSH.transpose(-1, -2)
        places_BNTR = (q_BNTH + self.position_bias.unsqueeze(1)) @ r_BNRH.transpose(-1, -2)
        scores_BNTS = (content_BNTS + at_distances(places_BNTR)) * self.part.score_scale
        hidden_TS = context.hidden_mask(None)
        if hidden_TS is not None:
            scores_BNTS = scores_BNTS.masked_fill(hidden_TS, -torch.inf)
        scores_BNTS = tap("scores", scores_BNTS, context)
        weights_BNTS = scores_BNTS.softmax(-1, dtype=upcast_dtype(scores_BNTS.dtype)).to(x_BTD.dtype)
        weights_BNTS = tap("pattern", weights_BNTS, context)
        weights_BNTS = F.dropout(weights_BNTS, self.dropout, self.training and self.execution.dropout)
        y_BTD: Tensor = self.out(tap("values", weights_BNTS @ v_BNSH))
        return y_BTD


class HeadMatrices(nn.Module):
    """A matrix for each head: weight [D, N, H]."""

    def __init__(self, d_model: int, n_heads: int, d_head: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(d_model, n_heads, d_head))

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Map states [B, T, D] to heads [B, N, T, H]."""
        y_BTZ = x_BTD @ self.weight.flatten(1)
        return y_BTZ.view(*y_BTZ.shape[:-1], *self.weight.shape[1:]).transpose(1, 2)


class HeadSum(HeadMatrices):
    """A matrix for each head, which maps heads back to states."""

    def forward(self, y_BNTH: Tensor) -> Tensor:
        """Map heads [B, N, T, H] to states [B, T, D]."""
        return y_BNTH.transpose(1, 2).flatten(2) @ self.weight.flatten(1).T


def distance_sinusoids(x_BTD: Tensor, max_distance: int | None) -> Tensor:
    """Return sines, then cosines [B, R, D] of the distances T, T − 1, … 1 − T."""
    n_texts, n_tokens, width = x_BTD.shape
    distances_R = torch.arange(n_tokens, -n_tokens, -1.0, device=x_BTD.device)
    if max_distance is not None:
        distances_R = distances_R.clamp(-max_distance, max_distance)
    wavelengths = 10_000 ** (torch.arange(0, width, 2, device=x_BTD.device) / width)
    angles = distances_R[:, None] / wavelengths
    table_RD = torch.cat((angles.sin(), angles.cos()), -1).to(x_BTD.dtype)
    return table_RD.expand(n_texts, -1, -1).contiguous()


def at_distances(x_BNTR: Tensor) -> Tensor:
    """Return for each query t and key s the number of the distance t − s: [B, N, T, T]."""
    *heads, n_tokens, n_rows = x_BNTR.shape
    rolled = x_BNTR.reshape(*heads, n_rows, n_tokens)[..., 1:, :]
    return rolled.reshape(*heads, n_tokens, n_rows - 1)[..., :n_tokens]
