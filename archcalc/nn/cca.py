"""Compressed convolutional attention.

Axes: B batch, T query tokens, S key tokens, D model, N query heads, K kv heads, H head width, n query heads of each kv
head, C = (N + K)·H channels of queries and keys, Z heads·H, W inputs of the convolutions before the first token.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archcalc.nn.arm_cache import CacheConfig, ConvolvedCache, RecurrentState
from archcalc.nn.attention_context import AttentionContext
from archcalc.nn.linear import Linear
from archcalc.nn.mixers.context import without_padding
from archcalc.nn.norm import norm
from archcalc.nn.rope import rotate
from archcalc.nn.softmax import SoftmaxConfig, attend
from archcalc.nn.taps.points import tap
from archcalc.spec import Spec
from archcalc.spec import cca as spec
from archcalc.spec.execution import Execution


class ConvolutionalAttention(nn.Module):
    """Attention whose queries and keys are convolved (Figliolia et al. 2025), as transformers' Zaya computes it."""

    def __init__(self, part: spec.ConvolutionalAttention, model: Spec) -> None:
        super().__init__()
        assert part.n_kv_heads is not None and part.d_head is not None, "the spec is resolved"  # noqa: PT018
        assert part.d_before is not None, "the spec is resolved"
        self.part, self.execution, self.d_head = part, Execution(), part.d_head
        self.n_heads, self.n_kv_heads = part.n_heads, part.n_kv_heads
        self.softmax = SoftmaxConfig(
            n_heads=part.n_heads, scale=part.score_scale, dropout=model.dropout.attention, window=part.window
        )
        width = part.n_kv_heads * part.d_head
        self.q = Linear(model.d_model, part.n_heads * part.d_head, bias=part.bias)
        self.k = Linear(model.d_model, width, bias=part.bias)
        self.v = Linear(model.d_model, width - part.d_before, bias=part.bias)
        self.v_before = Linear(model.d_model, part.d_before, bias=part.bias)
        self.qk_conv = HeadConvolutions(part)
        self.q_norm, self.k_norm = (norm(part.norm, part.d_head) for _ in "qk")
        self.temperature = nn.Parameter(torch.empty(part.n_kv_heads))
        self.out = Linear(part.n_heads * part.d_head, model.d_model, bias=part.out_bias)

    def forward(self, x_BTD: Tensor, context: AttentionContext) -> Tensor:
        """Map states [B, T, D] to states [B, T, D]."""
        x_BTD = without_padding(x_BTD, context)
        state = context.cache.state if isinstance(context.cache, ConvolvedCache) else None
        columns_BCW, before_BZ = state.read(context.past) if state is not None and context.past else (None, None)
        q_BNTH, k_BKTH, columns_BCW = self.queries_keys(x_BTD, columns_BCW, context)
        v_BKTH, before_BZ = self.values(x_BTD, before_BZ)
        if state is not None:
            state.write(columns_BCW, before_BZ)
        q_BNTH = tap("q", q_BNTH)
        k_BKTH, v_BKTH = tap("k", k_BKTH, context), tap("v", v_BKTH, context)
        k_BKSH, v_BKSH = context.keys_values(lambda: (k_BKTH, v_BKTH))
        context = context.last_keys(k_BKSH.shape[2])
        y_BNTH = attend(self.softmax, q_BNTH, k_BKSH, v_BKSH, context, self.execution, training=self.training)
        y_BTD: Tensor = self.out(tap("values", y_BNTH).transpose(1, 2).flatten(2))
        return y_BTD

    def queries_keys(
        self, x_BTD: Tensor, columns_BCW: Tensor | None, context: AttentionContext
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries [B, N, T, H] and keys [B, K, T, H], and the last inputs of the convolutions."""
        q_BTZ, k_BTZ = self.q(x_BTD), self.k(x_BTD)
        both_BTC = without_padding(torch.cat((q_BTZ, k_BTZ), -1), context)
        convolved_BTC, columns_BCW = self.qk_conv(both_BTC, columns_BCW)
        convolved_BTC = tap("qk_conv", convolved_BTC)
        q_BTKnH = q_BTZ.view(*q_BTZ.shape[:2], self.n_kv_heads, -1, self.d_head)
        mean_BTKnH = (q_BTKnH + k_BTZ.view(*k_BTZ.shape[:2], self.n_kv_heads, 1, self.d_head)) * 0.5
        means = mean_BTKnH.flatten(2, 3), mean_BTKnH.mean(3)
        parts = torch.split(convolved_BTC, [q_BTZ.shape[-1], k_BTZ.shape[-1]], -1)
        q_BNTH, k_BKTH = (
            (torch.unflatten(part, -1, (-1, self.d_head)) + mean).transpose(1, 2)
            for part, mean in zip(parts, means, strict=True)
        )
        k_BKTH = self.k_norm(k_BKTH) * self.temperature.view(-1, 1, 1)
        return self._rotated(self.q_norm(q_BNTH), context), self._rotated(k_BKTH, context), columns_BCW

    def values(self, x_BTD: Tensor, before_BZ: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return values [B, K, T, H], and what the next token reads of the last one.

        `before_BZ` is that of the token before the first. None: a text begins, before which states are 0.
        """
        own_BTZ, next_BTZ = self.v(x_BTD), self.v_before(x_BTD)
        if before_BZ is None:
            before_B1Z = self.v_before(torch.zeros_like(x_BTD[:, :1]))
        else:
            before_B1Z = before_BZ.to(x_BTD.dtype).unsqueeze(1)
        v_BTZ = torch.cat((own_BTZ, torch.cat((before_B1Z, next_BTZ[:, :-1]), 1)), -1)
        return torch.unflatten(v_BTZ, -1, (-1, self.d_head)).transpose(1, 2), next_BTZ[:, -1]

    def _rotated(self, x_BNTH: Tensor, context: AttentionContext) -> Tensor:
        position = self.part.position
        if position is None:
            return x_BNTH
        return rotate(x_BNTH, context.rotary_tables(position, x_BNTH.dtype), position.interleaved)


class HeadConvolutions(nn.Module):
    """A causal convolution of each channel, then one of the channels of each head."""

    def __init__(self, part: spec.ConvolutionalAttention) -> None:
        super().__init__()
        assert part.n_kv_heads is not None and part.d_head is not None, "the spec is resolved"  # noqa: PT018
        n_heads = part.n_heads + part.n_kv_heads
        self.n_columns = part.d_conv + part.d_group_conv - 2
        self.depthwise = GroupedConv(n_heads * part.d_head, 1, part.d_conv)
        self.grouped = GroupedConv(n_heads * part.d_head, part.d_head, part.d_group_conv)

    def forward(self, x_BTC: Tensor, columns_BCW: Tensor | None) -> tuple[Tensor, Tensor]:
        """Map [B, T, C] to [B, T, C]; also return the last inputs [B, C, W].

        `columns_BCW` are those before the first token. None: a text begins, before which inputs are 0.
        """
        x_BCT = x_BTC.transpose(1, 2)
        if columns_BCW is None:
            all_BCT = F.pad(x_BCT, (self.n_columns, 0))
        else:
            all_BCT = torch.cat((columns_BCW.to(x_BCT.dtype), x_BCT), -1)
        y_BCT: Tensor = self.grouped(self.depthwise(all_BCT))
        return y_BCT.transpose(1, 2), all_BCT[..., all_BCT.shape[-1] - self.n_columns :]


class GroupedConv(nn.Module):
    """A convolution of groups of `size` channels: weight [C, size, width], bias [C]; nothing is padded."""

    def __init__(self, channels: int, size: int, width: int) -> None:
        super().__init__()
        self.n_groups = channels // size
        self.weight = nn.Parameter(torch.empty(channels, size, width))
        self.bias = nn.Parameter(torch.empty(channels))

    def forward(self, x_BCT: Tensor) -> Tensor:
        """Map [B, C, T] to [B, C, T − width + 1]."""
        return F.conv1d(x_BCT, self.weight, self.bias, groups=self.n_groups)


def cache(part: spec.ConvolutionalAttention, config: CacheConfig) -> ConvolvedCache:
    """Return a cache of keys and values [B, K, S, H], of all tokens or of one window, and of what convolutions read."""
    assert part.n_kv_heads is not None and part.d_head is not None, "the spec is resolved"  # noqa: PT018
    assert part.d_before is not None, "the spec is resolved"
    n_tokens = min(config.capacity, part.window or config.capacity)
    keys, values = (config.empty_store(part.n_kv_heads, n_tokens, part.d_head) for _ in "kv")
    channels, n_columns = (part.n_heads + part.n_kv_heads) * part.d_head, part.d_conv + part.d_group_conv - 2
    states = config.zero_state(channels, n_columns), config.zero_state(part.d_before)
    return ConvolvedCache(keys, values, RecurrentState(*states))
