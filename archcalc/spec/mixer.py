"""Mixers: parts that mix tokens without softmax attention, with a state of fixed size."""

from typing import Literal

from archcalc.spec.activation import FixedActivation
from archcalc.spec.base import Activation, Part, Positive, Size
from archcalc.spec.norm import LayerNorm, Norm, RMSNorm


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

    `decay_over`: a head has one α, or one for each channel of its keys (Kimi Delta Attention, Kimi Team 2025). ln α is
    −exp(decay_log)·softplus(decay(x) + decay_bias), or, with a `decay_bound`, −decay_bound·σ(exp(decay_log)·(decay(x) +
    decay_bias)). The projections of the decay and of the gate may pass through `decay_rank` and `gate_rank` dimensions.
    """

    n_heads: Size
    n_key_heads: Size | None = None
    d_key: Size
    d_value: Size | None = None
    d_conv: Size = 4
    chunk: Size = 64
    negative: bool = False
    decay_over: Literal["head", "channel"] = "head"
    decay_rank: Size | None = None
    decay_bound: Positive | None = None
    gate_rank: Size | None = None
    gate_activation: Literal["silu", "sigmoid"] = "silu"
    norm: RMSNorm = RMSNorm()


class Lightning(Part, frozen=True, kw_only=True, tag_field="kind", tag="lightning"):
    """Linear attention whose states decay at fixed rates (Lightning Attention, Qin et al. 2024), as in MiniMax-Text-01.

    The state S of head h of n [d_head, d_head] becomes exp(−rate·2^(−8h/n))·S + k·vᵀ, and the head's output is q·S. q,
    k and v are activated by silu. The output is out(norm(outputs of all heads)·σ(gate(x))). Several tokens are computed
    in chunks of `chunk`, the last one shorter. `d_head` is by default d_model / n_heads.
    """

    n_heads: Size
    d_head: Size | None = None
    chunk: Size = 256
    rate: Positive = 1.0
    norm: RMSNorm = RMSNorm()


class MLstm(Part, frozen=True, kw_only=True, tag_field="kind", tag="mlstm"):
    """A memory that is a matrix, written by gates that grow exponentially (xLSTM, Beck et al. 2024, section 2.3).

    A head's state is C [d_key, d_value] and a sum s [d_key]. With i = exp(write_gate(x)) and f = σ(keep_gate(x)), C
    becomes f·C + i·k·vᵀ and s becomes f·s + i·k; the head's output is q·C / max(|q·s|, 1), with q divided by √d_key. A
    third number m keeps the exponents small: C and s are stored divided by exp(m), and `eps` is added to the divisor in
    this scale. The gates are within ±`gate_cap` before exp and σ. The output is out(σ(gate(x)) · norm(each head)).
    `bias` is that of q, k, v, gate and out; the other two gates have biases. Whole chunks of `chunk` tokens are
    computed at once, the tokens after them one by one. `d_value` is by default d_key.
    """

    n_heads: Size
    d_key: Size
    d_value: Size | None = None
    chunk: Size = 64
    gate_cap: Positive | None = 15.0
    bias: bool = False
    norm: Norm = LayerNorm(eps=1e-6, bias=False)
    eps: Positive = 1e-6


class Mamba1(Part, frozen=True, kw_only=True, tag_field="kind", tag="mamba1"):
    """A selective state space, computed as a scan: one token after another (Mamba, Gu & Dao 2023, algorithm 2).

    u, z = in(x); u = silu(conv(u)); Δ, b, c = x(u), of widths `dt_rank`, `d_state` and `d_state`. For each of `d_inner`
    channels, a state of `d_state` numbers becomes exp(−Δ·exp(A_log))·h + Δ·u·b, with Δ = softplus(dt(Δ)). The output is
    out((h·c + D·u)·silu(z)). Defaults: `d_inner` is 2·d_model, `dt_rank` is d_model / 16, rounded up. `bias` is that of
    in and out, `norm` a norm of each of Δ, b and c (Jamba; Falcon Mamba's have no weight).

    With `n_heads` the channels are in so many heads, each of which selects its own Δ, b and c from its own `d_head`
    channels (Zamba). `d_inner` is n_heads · d_head.
    """

    d_inner: Size | None = None
    n_heads: Size | None = None
    d_head: Size | None = None
    d_state: Size = 16
    d_conv: Size = 4
    dt_rank: Size | None = None
    bias: bool = False
    conv_bias: bool = True
    norm: Norm | None = None


class Multipliers(Part, frozen=True, kw_only=True):
    """Numbers that multiply what Mamba-2's first projection gives: z, v, b, c and Δ."""

    z: Positive = 1.0
    v: Positive = 1.0
    b: Positive = 1.0
    c: Positive = 1.0
    delta: Positive = 1.0


class Mamba2(Part, frozen=True, kw_only=True, tag_field="kind", tag="mamba2"):
    """A selective state space with one decay for each head, computed in chunks (Mamba-2, Dao & Gu 2024, listing 1).

    z, u, Δ = in(x), and v, b, c = silu(conv(u)); Δ = softplus(Δ + dt_bias), between `step_min` and `step_max`. The
    state of a head [d_head, d_state] becomes exp(−Δ·exp(A_log))·h + Δ·v·bᵀ; b and c of width `d_state` are those of the
    head's group. The output is out(norm((h·c + D·v)·silu(z))), the norm being over each of `n_state_groups` groups of
    the channels; with `norm_when: before` it is before the gate. Several tokens are computed in chunks of `chunk`.
    `bias` is that of in, and of out unless `out_bias` says otherwise. `multipliers` scale the slices of in(x)
    (Falcon-H1).
    """

    n_heads: Size
    d_head: Size
    n_state_groups: Size = 1
    d_state: Size = 128
    d_conv: Size = 4
    chunk: Size = 256
    step_min: Positive | None = None
    step_max: Positive | None = None
    bias: bool = False
    out_bias: bool | None = None
    conv_bias: bool = True
    norm: RMSNorm | None = RMSNorm()
    norm_when: Literal["before", "after"] = "after"
    multipliers: Multipliers | None = None


class RgLru(Part, frozen=True, kw_only=True, tag_field="kind", tag="rg_lru"):
    """Griffin's recurrent block (De et al. 2024, section 2.4), as in RecurrentGemma.

    u = conv(in(x)), over `d_conv` tokens, of n_blocks · d_block channels. i and r are sigmoids of two products of u
    with block-diagonal matrices. The state of a channel becomes a·h + √(1 − a²)·(i·u), where ln a is
    −8·softplus(decay_rate)·r; the first token of a text enters as i·u. The output is out(h·activation(gate(x))). All
    matrices and the convolution have biases. `d_block` is by default d_model / n_blocks.
    """

    n_blocks: Size
    d_block: Size | None = None
    d_conv: Size = 4
    activation: Activation = "gelu_tanh"


class TimeMix(Part, frozen=True, kw_only=True, tag_field="kind", tag="time_mix"):
    """Attention without queries, with a decay for each channel, as a scan (RWKV-4, Peng et al. 2023, section 3.1).

    k, v and r are projections of mixtures of each token's input with the previous token's. A channel's output is a mean
    of v, multiplied by σ(r): the token's own has the weight exp(k + bonus), the one n tokens before
    exp(k − (n − 1)·exp(decay)). `d_inner` channels are by default d_model.
    """

    d_inner: Size | None = None


class ChannelMix(Part, frozen=True, kw_only=True, tag_field="kind", tag="channel_mix"):
    """The feed-forward of RWKV-4, which reads the previous token's input too: σ(r)·v(relu(k)²), of width `d_ff`."""

    d_ff: Size


class SpanConv(Part, frozen=True, kw_only=True, tag_field="kind", tag="span_conv"):
    """activation(conv(x)): a convolution of all channels over the tokens around each (DeBERTa-v2).

    It reads `d_conv` tokens, an odd number, as many before a token as after it; so only an encoder may have it.
    """

    d_conv: Size = 3
    activation: FixedActivation = "tanh"


class Fourier(Part, frozen=True, kw_only=True, tag_field="kind", tag="fourier"):
    """The real part of the discrete Fourier transform over tokens and channels (FNet, Lee-Thorp et al. 2022, eq. 3).

    It has no weights and reads all tokens, so only an encoder may have it. A fast transform takes no matrix products.
    """


AnyMixer = (
    ShortConv | SpanConv | Fourier | GatedDelta | Lightning | MLstm | Mamba1 | Mamba2 | RgLru | TimeMix | ChannelMix
)
