"""The named points of mixers. Axes: B batch, T tokens, D model, Z width of a projection, I inner width."""

from __future__ import annotations

from collections.abc import Iterator

from archcalc.spec.layer import Reads
from archcalc.spec.mixer import (
    ChannelMix,
    Fourier,
    GatedDelta,
    Lightning,
    Mamba1,
    Mamba2,
    MLstm,
    RgLru,
    ShortConv,
    SpanConv,
    TimeMix,
)
from archcalc.spec.sites import Site, Sizes, states_site
from archcalc.words import msg

CONVOLVED = msg("each channel, convolved with its last tokens")
ACTIVATED = msg("each channel, convolved with its last tokens, activated")
AROUND = msg("all channels, convolved with the tokens around")
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
    description = msg("the logarithm of what a head keeps of its state")
    if part.decay_over == "head":
        yield Site(name="decay", axes="BTN", description=description, sizes=heads)
    else:
        yield Site(name="decay", axes="BTZ", description=description, sizes={"Z": part.n_heads * part.d_key})
    yield Site(name="mixed", axes="BTI", description=msg("what the queries read from the states"), sizes={"I": values})
    yield states_site("out", OUT, width)


def lightning(part: Lightning, width: Sizes, reads: Reads) -> Iterator[Site]:
    """Yield the sites of lightning attention."""
    assert part.d_head is not None, "the spec is resolved"
    heads = {"I": part.n_heads * part.d_head}
    yield Site(name="q", axes="BTI", description=msg("queries, activated"), sizes=heads)
    yield Site(name="k", axes="BTI", description=msg("keys, activated"), sizes=heads)
    yield Site(name="v", axes="BTI", description=msg("values, activated"), sizes=heads)
    yield Site(name="mixed", axes="BTI", description=msg("what the queries read from the states"), sizes=heads)
    yield states_site("out", OUT, width)


def mlstm(part: MLstm, width: Sizes, reads: Reads) -> Iterator[Site]:
    """Yield the sites of an mLSTM."""
    assert part.d_value is not None, "the spec is resolved"
    keys, values, heads = ({"I": part.n_heads * n} for n in (part.d_key, part.d_value, 1))
    yield Site(name="q", axes="BTI", description=msg("queries"), sizes=keys)
    yield Site(name="k", axes="BTI", description=msg("keys"), sizes=keys)
    yield Site(name="v", axes="BTI", description=msg("values"), sizes=values)
    writes = msg("the logarithm of what each head writes to its state")
    yield Site(name="write_gate", axes="BTI", description=writes, sizes=heads)
    keeps = msg("what each head keeps of its state, before σ")
    yield Site(name="keep_gate", axes="BTI", description=keeps, sizes=heads)
    yield Site(name="mixed", axes="BTI", description=msg("what the queries read from the states"), sizes=values)
    yield states_site("out", OUT, width)


def mamba1(part: Mamba1, width: Sizes, reads: Reads) -> Iterator[Site]:
    """Yield the sites of Mamba."""
    assert part.d_inner is not None and part.dt_rank is not None, "the spec is resolved"  # noqa: PT018
    inner = {"I": part.d_inner}
    yield Site(name="projected", axes="BTZ", description=PROJECTED, sizes={"Z": 2 * part.d_inner})
    yield Site(name="conv", axes="BTI", description=ACTIVATED, sizes=inner)
    sizes = {"Z": (part.n_heads or 1) * (part.dt_rank + 2 * part.d_state)}
    yield Site(
        name="selection", axes="BTZ", description=msg("what selects: Δ, b and c before their norms"), sizes=sizes
    )
    yield Site(name="delta", axes="BTI", description=msg("the step Δ of each channel"), sizes=inner)
    yield Site(name="scan", axes="BTI", description=msg("what the scan reads off the states, ungated"), sizes=inner)
    yield states_site("out", OUT, width)


def rg_lru(part: RgLru, width: Sizes, reads: Reads) -> Iterator[Site]:
    """Yield the sites of a real-gated linear recurrent unit."""
    assert part.d_block is not None, "the spec is resolved"
    inner = {"I": part.n_blocks * part.d_block}
    yield Site(name="conv", axes="BTI", description=CONVOLVED, sizes=inner)
    yield Site(name="input_gate", axes="BTI", description=msg("how much of each channel enters its state"), sizes=inner)
    yield Site(name="decay_gate", axes="BTI", description=msg("how strongly each channel's state decays"), sizes=inner)
    yield Site(name="scan", axes="BTI", description=msg("the state of each channel, ungated"), sizes=inner)
    yield states_site("out", OUT, width)


def time_mix(part: TimeMix, width: Sizes, reads: Reads) -> Iterator[Site]:
    """Yield the sites of RWKV's time mixing."""
    assert part.d_inner is not None, "the spec is resolved"
    inner = {"I": part.d_inner}
    yield Site(name="k", axes="BTI", description=msg("keys: how much each channel of the token counts"), sizes=inner)
    yield Site(name="v", axes="BTI", description=msg("values: what each position passes on"), sizes=inner)
    yield Site(name="r", axes="BTI", description=msg("the factors of the outputs"), sizes=inner)
    yield Site(name="scan", axes="BTI", description=msg("the weighted mean of each channel's values"), sizes=inner)
    yield states_site("out", OUT, width)


def channel_mix(part: ChannelMix, width: Sizes, reads: Reads) -> Iterator[Site]:
    """Yield the sites of RWKV's channel mixing."""
    yield Site(name="hidden", axes="BTF", description=msg("hidden units, activated"), sizes={"F": part.d_ff})
    yield states_site("r", msg("the factors of the outputs"), width)
    yield states_site("out", msg("the output of the feed-forward"), width)


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


def span_conv(part: SpanConv, width: Sizes, reads: Reads) -> Iterator[Site]:
    """Yield the sites of a convolution over the tokens around each."""
    yield Site(name="conv", axes="BTI", description=AROUND, sizes={"I": width["D"]})
    yield states_site("out", OUT, width)


def fourier(part: Fourier, width: Sizes, reads: Reads) -> Iterator[Site]:
    """Yield the site of a Fourier transform."""
    yield states_site("out", OUT, width)
