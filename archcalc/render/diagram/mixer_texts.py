"""The texts of the boxes of mixers in a diagram."""

from __future__ import annotations

from archcalc.spec.mixer import GatedDelta, Mamba1, Mamba2, ShortConv
from archcalc.units import exact
from archcalc.words import Translator, msg


def short_conv(part: ShortConv, d_model: int, say: Translator) -> tuple[str, list[str]]:
    """Return the heading and the lines of a short convolution."""
    return say(msg("short convolution")), [
        say(msg("{n} channels, {width} tokens", n=exact(d_model), width=exact(part.d_conv)))
    ]


def gated_delta(part: GatedDelta, d_model: int, say: Translator) -> tuple[str, list[str]]:
    """Return the heading and the lines of a gated delta rule."""
    assert part.d_value is not None, "the spec is resolved"
    return say(msg("gated delta rule")), [
        say(msg("{n} heads, {key} × {value} each", n=exact(part.n_heads), key=part.d_key, value=part.d_value)),
        say(msg("chunks of {n} tokens", n=exact(part.chunk))),
    ]


def mamba1(part: Mamba1, d_model: int, say: Translator) -> tuple[str, list[str]]:
    """Return the heading and the lines of Mamba."""
    lines = [
        say(msg("{n} channels × {state} states", n=exact(part.d_inner or 0), state=exact(part.d_state))),
        say(msg("convolution of {width} tokens, scan", width=exact(part.d_conv))),
    ]
    return say(msg("Mamba")), lines + ([say(msg("norms on Δ, b, c"))] if part.norm else [])


def mamba2(part: Mamba2, d_model: int, say: Translator) -> tuple[str, list[str]]:
    """Return the heading and the lines of Mamba-2."""
    return say(msg("Mamba-2")), [
        say(msg("{n} heads, {key} × {value} each", n=exact(part.n_heads), key=part.d_head, value=part.d_state)),
        say(msg("convolution of {width} tokens", width=exact(part.d_conv))),
        say(msg("chunks of {n} tokens", n=exact(part.chunk))),
    ]
