"""The named points of mixers. Axes: B batch, T tokens, D model, Z width of the projection, I inner width."""

from __future__ import annotations

from collections.abc import Iterator

from archcalc.spec.layer import Reads
from archcalc.spec.mixer import GatedDelta, ShortConv
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


def gated_delta(part: GatedDelta, width: Sizes, reads: Reads) -> Iterator[Site]:
    """Yield the sites of a gated delta rule."""
    assert part.n_key_heads is not None, "the spec is resolved"
    assert part.d_value is not None, "the spec is resolved"
    keys, values, heads = part.n_key_heads * part.d_key, part.n_heads * part.d_value, {"N": part.n_heads}
    yield Site(name="q", axes="BTZ", description=msg("queries, convolved and activated"), sizes={"Z": keys})
    yield Site(name="k", axes="BTZ", description=msg("keys, convolved and activated"), sizes={"Z": keys})
    yield Site(name="v", axes="BTI", description=msg("values, convolved and activated"), sizes={"I": values})
    yield Site(name="beta", axes="BTN", description=msg("how much of its state a head rewrites"), sizes=heads)
    yield Site(
        name="decay", axes="BTN", description=msg("the logarithm of what a head keeps of its state"), sizes=heads
    )
    yield Site(name="mixed", axes="BTI", description=msg("what the queries read from the states"), sizes={"I": values})
    yield states_site("out", OUT, width)
