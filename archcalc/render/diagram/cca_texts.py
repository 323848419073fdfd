"""The text of the box of compressed convolutional attention in a diagram."""

from __future__ import annotations

from archcalc.render.diagram.box_texts import positions
from archcalc.spec.cca import ConvolutionalAttention
from archcalc.units import exact
from archcalc.words import Translator, msg


def convolutional(part: ConvolutionalAttention, d_model: int, say: Translator) -> tuple[str, list[str]]:
    """Return the heading and the lines of attention whose queries and keys are convolved."""
    width = part.d_head or 0
    convolutions = msg("queries and keys convolved over {n} tokens, then {m}", n=part.d_conv, m=part.d_group_conv)
    return say(msg("convolutional attention")), [
        say(msg("{n} heads × {width}", n=exact(part.n_heads), width=exact(width))),
        say(msg("{n} key/value heads", n=exact(part.n_kv_heads or 0))),
        say(convolutions),
        say(msg("{n} values of the token before", n=exact(part.d_before or 0))),
        *positions(part.position, width, say),
    ]
