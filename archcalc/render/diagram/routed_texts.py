"""The text of the box of attention by experts in a diagram."""

from __future__ import annotations

from archcalc.render.diagram.box_texts import positions
from archcalc.spec.routed import RoutedAttention
from archcalc.units import exact
from archcalc.words import Translator, msg


def routed(part: RoutedAttention, d_model: int, say: Translator) -> tuple[str, list[str]]:
    """Return the heading and the lines of attention by experts."""
    width = part.d_head or 0
    return say(msg("mixture of attention heads")), [
        say(msg("{active} of {n} experts per token", active=exact(part.n_active), n=exact(part.n_experts))),
        say(msg("{n} heads × {width}", n=exact(part.n_heads), width=exact(width))),
        say(msg("{n} key/value heads", n=exact(part.n_kv_heads))),
        *positions(part.position, width, say),
    ]
