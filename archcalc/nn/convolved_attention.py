"""Attention of an encoder with convolutions over the tokens beside it.

Axes: B batch, T tokens, S keys, D model, N heads, H head width, Z all heads, C channels, W tokens of a convolution.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archcalc.nn.attention_context import AttentionContext
from archcalc.nn.linear import GroupedLinear, Linear
from archcalc.nn.mixers.context import without_padding
from archcalc.nn.softmax import SoftmaxConfig, attend
from archcalc.nn.taps.points import tap
from archcalc.nn.upcast import upcast_dtype
from archcalc.spec import Spec
from archcalc.spec import convolved as spec
from archcalc.spec.execution import Execution


class ConvolvedAttention(nn.Module):
    """Multi-head attention, with convolved values or heads that are convolutions (Nyströmformer, YOSO, ConvBERT)."""

    value_conv: ValueConv | None

    def __init__(self, part: spec.ConvolvedAttention, model: Spec) -> None:
        super().__init__()
        assert part.d_head is not None, "the spec is resolved"
        self.part, self.execution, self.d_head = part, Execution(), part.d_head
        width, biases = part.n_heads * part.d_head, {"q": part.q_bias, "k": part.k_bias, "v": part.v_bias}
        self.softmax = SoftmaxConfig(
            n_heads=part.n_heads, scale=part.score_scale, dropout=model.dropout.attention, is_eager=True
        )
        for name, bias in biases.items():
            self.add_module(name, Linear(model.d_model, width, bias=bias))
        self.value_conv = ValueConv(part.n_heads, part.d_value_conv) if part.d_value_conv is not None else None
        if part.d_span_conv is not None:
            self.key_conv = SeparableConv(model.d_model, width, part.d_span_conv)
            self.kernels = Linear(width, part.n_heads * part.d_span_conv)
            self.span_v = Linear(model.d_model, width)
        self.out = Linear(2 * width if part.has_span else width, model.d_model, bias=part.out_bias)

    def forward(self, x_BTD: Tensor, context: AttentionContext) -> Tensor:
        """Map states [B, T, D] to states [B, T, D]."""
        # Contiguous, so that autograd saves them once for attention and for convolutions.
        q_BNTH, k_BNTH, v_BNTH = (tap(name, self.heads(name, x_BTD).contiguous()) for name in "qkv")
        if self.part.n_hashes is None:
            y_BNTH = attend(self.softmax, q_BNTH, k_BNTH, v_BNTH, context, self.execution, training=self.training)
        else:
            y_BNTH = self.collisions(q_BNTH, k_BNTH, v_BNTH, self.part.n_hashes, context)
        y_BNTH = tap("values", y_BNTH)
        if self.value_conv is not None:
            y_BNTH = y_BNTH + tap("value_conv", self.value_conv(v_BNTH, context))
        y_BTZ = y_BNTH.transpose(1, 2).flatten(2)
        if self.part.d_span_conv is not None:
            y_BTZ = torch.cat((y_BTZ, tap("spans", self.spans(x_BTD, q_BNTH, self.part.d_span_conv, context))), -1)
        y_BTD: Tensor = self.out(y_BTZ)
        return y_BTD

    def heads(self, name: str, x_BTD: Tensor) -> Tensor:
        """Return queries, keys or values [B, N, T, H] of states."""
        y_BTZ: Tensor = self.get_submodule(name)(x_BTD)
        return y_BTZ.view(*y_BTZ.shape[:-1], self.part.n_heads, self.d_head).transpose(1, 2)

    @staticmethod
    def collisions(q_BNTH: Tensor, k_BNTH: Tensor, v_BNTH: Tensor, n_hashes: int, context: AttentionContext) -> Tensor:
        """Return the values weighted by (1 − angle / π)ⁿ, scaled to length 1 (Zeng et al. 2021, eq. 5)."""
        cosines_BNTS = F.normalize(q_BNTH, dim=-1) @ F.normalize(k_BNTH, dim=-1).transpose(-1, -2)
        cosines_BNTS = tap("cosines", cosines_BNTS).to(upcast_dtype(q_BNTH.dtype))
        weights_BNTS = (1 - cosines_BNTS.clamp(-1, 1).acos() / math.pi) ** n_hashes
        hidden_TS = context.hidden_mask(None)
        if hidden_TS is not None:
            weights_BNTS = weights_BNTS.masked_fill(hidden_TS, 0.0)
        weights_BNTS = tap("weights", weights_BNTS.to(v_BNTH.dtype))
        return F.normalize(weights_BNTS @ v_BNTH, dim=-1)

    def spans(self, x_BTD: Tensor, q_BNTH: Tensor, width: int, context: AttentionContext) -> Tensor:
        """Return the heads [B, T, Z] that are convolutions with kernels of their own for each token."""
        n_heads = self.part.n_heads
        around_BTZ = tap("key_conv", self.key_conv(without_padding(x_BTD, context)))
        by_token = (*x_BTD.shape[:2], n_heads, -1)
        product_BTZ = (q_BNTH.transpose(1, 2) * around_BTZ.reshape(by_token)).flatten(2)
        kernels_BTNW = tap("kernels", self.kernels(product_BTZ)).reshape(by_token)
        weights_BTNW = kernels_BTNW.softmax(-1, dtype=upcast_dtype(kernels_BTNW.dtype)).to(x_BTD.dtype)
        values_BTZ = without_padding(tap("span_v", self.span_v(x_BTD)), context)
        windows_BTZW = F.pad(values_BTZ, (0, 0, width // 2, width // 2)).unfold(1, width, 1)
        windows_BTNHW = windows_BTZW.reshape(*x_BTD.shape[:2], n_heads, -1, width)
        y_BTNH: Tensor = (windows_BTNHW @ weights_BTNW.unsqueeze(-1)).squeeze(-1)
        return y_BTNH.flatten(2)


class ValueConv(nn.Module):
    """A convolution of each head's values over the tokens around each, by one filter of the head: weight [N, 1, W]."""

    def __init__(self, n_heads: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_heads, 1, width))

    def forward(self, v_BNTH: Tensor, context: AttentionContext) -> Tensor:
        """Map values [B, N, T, H] to the same axes; beside the text are zeros."""
        padding_BT = context.query_padding
        if padding_BT is not None:
            v_BNTH = v_BNTH.masked_fill(padding_BT[:, None, :, None], 0.0)
        n_heads, _, width = self.weight.shape
        return F.conv2d(v_BNTH, self.weight.unsqueeze(-1), padding=(width // 2, 0), groups=n_heads)


class SeparableConv(nn.Module):
    """A convolution of each channel over W tokens, then a projection, then a bias (ConvBERT)."""

    def __init__(self, channels: int, d_out: int, width: int) -> None:
        super().__init__()
        self.depthwise, self.pointwise = DepthwiseConv(channels, width), GroupedLinear(d_out, channels, bias=False)
        self.bias = nn.Parameter(torch.empty(d_out))

    def forward(self, x_BTC: Tensor) -> Tensor:
        """Map [B, T, C] to [B, T, Z]."""
        y_BTZ: Tensor = self.pointwise(self.depthwise(x_BTC)) + self.bias
        return y_BTZ


class DepthwiseConv(nn.Module):
    """A convolution of each channel over W tokens, as many before a token as after it: weight [C, 1, W]."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, 1, width))

    def forward(self, x_BTC: Tensor) -> Tensor:
        """Map [B, T, C] to [B, T, C]; beside the text are zeros."""
        channels, _, width = self.weight.shape
        y_BCT = F.conv1d(x_BTC.transpose(1, 2), self.weight, padding=width // 2, groups=channels)
        return y_BCT.transpose(1, 2)
