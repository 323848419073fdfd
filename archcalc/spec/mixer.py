"""Mixers: parts that mix tokens without softmax attention, with a state of fixed size."""

from __future__ import annotations

from archcalc.spec.activation import FixedActivation
from archcalc.spec.base import Part, Size
from archcalc.spec.norm import Norm, RMSNorm


class ShortConv(Part, frozen=True, kw_only=True, tag_field="kind", tag="short_conv"):
    """out(c · conv(b · x)) with b, c, x = in(x), each as wide as the model (LFM2, Liquid AI 2025).

    The convolution is causal and depthwise, over `d_conv` tokens. `bias` is that of both projections and of the
    convolution.
    """

    d_conv: Size = 3
    bias: bool = False


class GatedDelta(Part, frozen=True, kw_only=True, tag_field="kind", tag="gated_delta"):
    """Linear attention by the gated delta rule (Yang et al. 2025), as in Qwen3-Next.

    The state S of a head [d_key, d_value] becomes α·S + β·k·(v − k·α·S)ᵀ, and the head's output is q·S. q, k and v are
    convolved over `d_conv` tokens; q and k have unit length. A head's α and β follow from the input, and a gated norm
    precedes the output projection. Several tokens are computed in chunks of `chunk`. `negative`: β is up to 2, so
    eigenvalues may be negative. Defaults: `n_key_heads` is n_heads, `d_value` is d_key.
    """

    n_heads: Size
    n_key_heads: Size | None = None
    d_key: Size
    d_value: Size | None = None
    d_conv: Size = 4
    chunk: Size = 64
    negative: bool = False
    norm: RMSNorm = RMSNorm()


class Mamba1(Part, frozen=True, kw_only=True, tag_field="kind", tag="mamba1"):
    """A selective state space, computed as a scan: one token after another (Mamba, Gu & Dao 2023, algorithm 2).

    u, z = in(x); u = silu(conv(u)); Δ, b, c = x(u), of widths `dt_rank`, `d_state` and `d_state`. For each of `d_inner`
    channels, a state of `d_state` numbers becomes exp(−Δ·exp(A_log))·h + Δ·u·b, with Δ = softplus(dt(Δ)). The output is
    out((h·c + D·u)·silu(z)). Defaults: `d_inner` is 2·d_model, `dt_rank` is d_model / 16, rounded up. `bias` is that of
    in and out, `norm` a norm of each of Δ, b and c (Jamba; Falcon Mamba's have no weight).
    """

    d_inner: Size | None = None
    d_state: Size = 16
    d_conv: Size = 4
    dt_rank: Size | None = None
    bias: bool = False
    conv_bias: bool = True
    norm: Norm | None = None


class SpanConv(Part, frozen=True, kw_only=True, tag_field="kind", tag="span_conv"):
    """activation(conv(x)): a convolution of all channels over the tokens around each (DeBERTa-v2).

    It reads `d_conv` tokens, an odd number, as many before a token as after it; so only an encoder may have it.
    """

    d_conv: Size = 3
    activation: FixedActivation = "tanh"


AnyMixer = ShortConv | GatedDelta | Mamba1 | SpanConv
