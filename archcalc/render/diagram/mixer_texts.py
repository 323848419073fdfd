"""The texts of the boxes of mixers in a diagram."""

from __future__ import annotations

from archcalc.spec.activation import activation_name
from archcalc.spec.mixer import (
    ChannelMix,
    Fourier,
    GatedDelta,
    Lightning,
    Mamba1,
    Mamba2,
    MLstm,
    RgLru,
    ShortConv,
    SpanConv,
    TimeMix,
)
from archcalc.units import exact
from archcalc.words import Translator, msg


def short_conv(part: ShortConv, d_model: int, say: Translator) -> tuple[str, list[str]]:
    """Return the heading and the lines of a short convolution."""
    return say(msg("short convolution")), [
        say(msg("{n} channels, {width} tokens", n=exact(d_model), width=exact(part.d_conv)))
    ]


def span_conv(part: SpanConv, d_model: int, say: Translator) -> tuple[str, list[str]]:
    """Return the heading and the lines of a convolution over the tokens around each."""
    return say(msg("convolution")), [
        say(msg("{n} channels, {width} tokens", n=exact(d_model), width=exact(part.d_conv))),
        activation_name(part.activation),
    ]


def fourier(part: Fourier, d_model: int, say: Translator) -> tuple[str, list[str]]:
    """Return the heading and the line of a Fourier transform."""
    return say(msg("Fourier transform")), [say(msg("over tokens and {n} channels", n=exact(d_model)))]


def gated_delta(part: GatedDelta, d_model: int, say: Translator) -> tuple[str, list[str]]:
    """Return the heading and the lines of a gated delta rule."""
    assert part.d_value is not None, "the spec is resolved"
    lines = [say(msg("a decay for each channel of keys"))] if part.decay_over == "channel" else []
    return say(msg("gated delta rule")), [
        say(msg("{n} heads, {key} × {value} each", n=exact(part.n_heads), key=part.d_key, value=part.d_value)),
        say(msg("chunks of {n} tokens", n=exact(part.chunk))),
        *lines,
    ]


def lightning(part: Lightning, d_model: int, say: Translator) -> tuple[str, list[str]]:
    """Return the heading and the lines of lightning attention."""
    return say(msg("lightning attention")), [
        say(msg("{n} heads × {width}", n=exact(part.n_heads), width=exact(part.d_head or 0))),
        say(msg("chunks of {n} tokens", n=exact(part.chunk))),
    ]


def mlstm(part: MLstm, d_model: int, say: Translator) -> tuple[str, list[str]]:
    """Return the heading and the lines of an mLSTM."""
    keys, values = exact(part.d_key), exact(part.d_value or part.d_key)
    return say(msg("matrix memory (mLSTM)")), [
        say(msg("{n} states of {keys} × {values}", n=exact(part.n_heads), keys=keys, values=values)),
        say(msg("chunks of {n} tokens", n=exact(part.chunk))),
    ]


def mamba1(part: Mamba1, d_model: int, say: Translator) -> tuple[str, list[str]]:
    """Return the heading and the lines of Mamba."""
    lines = [
        say(msg("{n} channels × {state} states", n=exact(part.d_inner or 0), state=exact(part.d_state))),
        say(msg("convolution of {width} tokens, scan", width=exact(part.d_conv))),
        *(
            [say(msg("{n} heads × {width}", n=exact(part.n_heads), width=exact(part.d_head or 0)))]
            if part.n_heads
            else []
        ),
    ]
    return say(msg("Mamba")), lines + ([say(msg("norms on Δ, b, c"))] if part.norm else [])


def rg_lru(part: RgLru, d_model: int, say: Translator) -> tuple[str, list[str]]:
    """Return the heading and the lines of a real-gated linear recurrent unit."""
    return say(msg("gated linear recurrence (RG-LRU)")), [
        say(msg("{n} channels in {blocks} blocks", n=exact(part.n_blocks * (part.d_block or 0)), blocks=part.n_blocks)),
        say(msg("convolution of {width} tokens, scan", width=exact(part.d_conv))),
    ]


def time_mix(part: TimeMix, d_model: int, say: Translator) -> tuple[str, list[str]]:
    """Return the heading and the lines of RWKV's time mixing."""
    return say(msg("time mixing (RWKV)")), [say(msg("{n} channels, scan", n=exact(part.d_inner or 0)))]


def channel_mix(part: ChannelMix, d_model: int, say: Translator) -> tuple[str, list[str]]:
    """Return the heading and the lines of RWKV's channel mixing."""
    width, inner = exact(d_model), exact(part.d_ff)
    return say(msg("channel mixing (RWKV)")), [say(msg("{width} → {inner} → {width}", width=width, inner=inner))]


def mamba2(part: Mamba2, d_model: int, say: Translator) -> tuple[str, list[str]]:
    """Return the heading and the lines of Mamba-2."""
    return say(msg("Mamba-2")), [
        say(msg("{n} heads, {key} × {value} each", n=exact(part.n_heads), key=part.d_head, value=part.d_state)),
        say(msg("convolution of {width} tokens", width=exact(part.d_conv))),
        say(msg("chunks of {n} tokens", n=exact(part.chunk))),
    ]
