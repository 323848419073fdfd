"""The named points of mixers. Axes: B batch, T tokens, D model, Z width of a projection, I inner width."""

from __future__ import annotations

from collections.abc import Iterator

from archcalc.spec.layer import Reads
from archcalc.spec.mixer import GatedDelta, Mamba1, Mamba2, ShortConv
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


def mamba2(part: Mamba2, width: Sizes, reads: Reads) -> Iterator[Site]:
    """Yield the sites of Mamba-2."""
    inner, selected = part.n_heads * part.d_head, 2 * part.n_state_groups * part.d_state
    sizes = {"Z": 2 * inner + selected + part.n_heads}
    yield Site(name="projected", axes="BTZ", description=PROJECTED, sizes=sizes)
    yield Site(name="conv", axes="BTI", description=ACTIVATED, sizes={"I": inner + selected})
    yield Site(name="v", axes="BTI", description=msg("values, convolved and activated"), sizes={"I": inner})
    yield Site(name="delta", axes="BTN", description=msg("the step Δ of each head"), sizes={"N": part.n_heads})
    description = msg("what each token reads off the states, ungated")
    yield Site(name="scan", axes="BTI", description=description, sizes={"I": inner})
    yield states_site("out", OUT, width)
