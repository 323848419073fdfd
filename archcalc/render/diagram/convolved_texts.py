"""The texts of the boxes of attention with convolutions, and with projected positions, in a diagram."""

from __future__ import annotations

from archcalc.spec.convolved import ConvolvedAttention
from archcalc.spec.xl import XlAttention
from archcalc.units import exact
from archcalc.words import Translator, msg


def convolved(part: ConvolvedAttention, d_model: int, say: Translator) -> tuple[str, list[str]]:
    """Return the heading and the lines of attention with convolutions."""
    n_heads = exact(part.n_heads)
    lines = [say(msg("{n} heads × {width}", n=n_heads, width=exact(part.d_head or 0)))]
    if part.n_hashes is not None:
        lines.append(say(msg("weights by angle, power {n}", n=exact(part.n_hashes))))
    if part.d_value_conv is not None:
        lines.append(say(msg("values convolved over {n} tokens", n=exact(part.d_value_conv))))
    if part.d_span_conv is not None:
        lines.append(
            say(msg("{n} heads of convolutions over {width} tokens", n=n_heads, width=exact(part.d_span_conv)))
        )
    return say(msg("attention with convolutions")), lines


def xl(part: XlAttention, d_model: int, say: Translator) -> tuple[str, list[str]]:
    """Return the heading and the lines of attention by projected positions."""
    lines = [
        say(msg("{n} heads × {width}", n=exact(part.n_heads), width=exact(part.d_head or 0))),
        say(msg("projected sinusoids of distances")),
    ]
    return say(msg("multi-head attention")), lines
