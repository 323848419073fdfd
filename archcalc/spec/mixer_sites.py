"""The named points of mixers. Axes: B batch, T tokens, D model, Z width of the projection, I inner width."""

from __future__ import annotations

from collections.abc import Iterator

from archcalc.spec.layer import Reads
from archcalc.spec.mixer import ShortConv
from archcalc.spec.sites import Site, Sizes, states_site
from archcalc.words import msg

CONVOLVED = msg("each channel, convolved with its last tokens")
PROJECTED = msg("the projection of the input that the mixer takes apart")
OUT = msg("the output of the mixer")


def short_conv(part: ShortConv, width: Sizes, reads: Reads) -> Iterator[Site]:
    """Yield the sites of a short convolution."""
    yield Site(name="projected", axes="BTZ", description=PROJECTED, sizes={"Z": 3 * width["D"]})
    yield Site(name="conv", axes="BTI", description=CONVOLVED, sizes={"I": width["D"]})
    yield states_site("out", OUT, width)
