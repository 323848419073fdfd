"""The texts of the boxes of mixers in a diagram."""

from __future__ import annotations

from archcalc.spec.mixer import GatedDelta, ShortConv
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
