"""The texts of the boxes of mixers in a diagram."""

from __future__ import annotations

from archcalc.spec.mixer import ShortConv
from archcalc.units import exact
from archcalc.words import Translator, msg


def short_conv(part: ShortConv, d_model: int, say: Translator) -> tuple[str, list[str]]:
    """Return the heading and the lines of a short convolution."""
    return say(msg("short convolution")), [
        say(msg("{n} channels, {width} tokens", n=exact(d_model), width=exact(part.d_conv)))
    ]
