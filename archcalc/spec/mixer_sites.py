"""The named points of mixers. Axes: B batch, T tokens, D model, Z width of a projection, I inner width."""

from __future__ import annotations

from collections.abc import Iterator

from archcalc.spec.layer import Reads
from archcalc.spec.mixer import Mamba1, ShortConv
from archcalc.spec.sites import Site, Sizes, states_site
from archcalc.words import msg

CONVOLVED = msg("each channel, convolved with its last tokens")
ACTIVATED = msg("each channel, convolved with its last tokens, activated")
PROJECTED = msg("the projection of the input that the mixer takes apart")
OUT = msg("the output of the mixer")


def short_conv(part: ShortConv, width: Sizes, reads: Reads) -> Iterator[Site]:
    """Yield the sites of a short convolution."""
    yield Site(name="projected", axes="BTZ", description=PROJECTED, sizes={"Z": 3 * width["D"]})
    yield Site(name="conv", axes="BTI", description=CONVOLVED, sizes={"I": width["D"]})
    yield states_site("out", OUT, width)


def mamba1(part: Mamba1, width: Sizes, reads: Reads) -> Iterator[Site]:
    """Yield the sites of Mamba."""
    assert part.d_inner is not None and part.dt_rank is not None, "the spec is resolved"  # noqa: PT018
    inner = {"I": part.d_inner}
    yield Site(name="projected", axes="BTZ", description=PROJECTED, sizes={"Z": 2 * part.d_inner})
    yield Site(name="conv", axes="BTI", description=ACTIVATED, sizes=inner)
    sizes = {"Z": part.dt_rank + 2 * part.d_state}
    yield Site(
        name="selection", axes="BTZ", description=msg("what selects: Δ, b and c before their norms"), sizes=sizes
    )
    yield Site(name="delta", axes="BTI", description=msg("the step Δ of each channel"), sizes=inner)
    yield Site(name="scan", axes="BTI", description=msg("what the scan reads off the states, ungated"), sizes=inner)
    yield states_site("out", OUT, width)
