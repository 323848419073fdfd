"""The named points of attention with convolutions, or with projected positions. Axes: as in `archcalc.spec.sites`."""

from __future__ import annotations

from collections.abc import Iterator

from archcalc.spec.convolved import ConvolvedAttention
from archcalc.spec.layer import Reads
from archcalc.spec.sites import SCORES, Site, Sizes, softmax, states_site
from archcalc.spec.xl import XlAttention
from archcalc.words import msg


def convolved(part: ConvolvedAttention, width: Sizes, reads: Reads) -> Iterator[Site]:
    """Yield the sites of an attention with convolutions."""
    assert part.d_head is not None, "the spec is resolved"
    heads = {"N": part.n_heads, "H": part.d_head}
    yield Site(name="q", axes="BNTH", description=msg("queries"), sizes=heads)
    yield Site(name="k", axes="BNTH", description=msg("the tokens' keys"), sizes=heads)
    yield Site(name="v", axes="BNTH", description=msg("the tokens' values"), sizes=heads)
    if part.n_hashes is None:
        yield from softmax(part.n_heads, part.d_head, "H", SCORES[False, False], None, is_cross=False)
    else:
        pairs = {"N": part.n_heads}
        yield Site(name="cosines", axes="BNTS", description=msg("cosines of queries and keys"), sizes=pairs)
        weights = msg("the probability that no random plane parts query and key; 0 where masked")
        yield Site(name="weights", axes="BNTS", description=weights, sizes=pairs)
        read = msg("each head's values, weighted, scaled to length 1")
        yield Site(name="values", axes="BNTH", description=read, sizes=heads)
    if part.d_value_conv is not None:
        around = msg("each head's values, convolved over the tokens around each")
        yield Site(name="value_conv", axes="BNTH", description=around, sizes=heads)
    if part.d_span_conv is not None:
        inner, kernels = part.n_heads * part.d_head, part.n_heads * part.d_span_conv
        around = msg("the layer's input, convolved over the tokens around each and projected")
        yield Site(name="key_conv", axes="BTI", description=around, sizes={"I": inner})
        weights = msg("the kernels of all heads that are convolutions, before their softmax")
        yield Site(name="kernels", axes="BTZ", description=weights, sizes={"Z": kernels})
        yield Site(name="span_v", axes="BTI", description=msg("what these heads convolve"), sizes={"I": inner})
        yield Site(name="spans", axes="BTI", description=msg("the outputs of these heads"), sizes={"I": inner})
    yield states_site("out", msg("the output of attention"), width)


def xl(part: XlAttention, width: Sizes, reads: Reads) -> Iterator[Site]:
    """Yield the sites of an attention by projected positions."""
    assert part.d_head is not None, "the spec is resolved"
    heads = {"N": part.n_heads, "H": part.d_head}
    yield Site(name="q", axes="BNTH", description=msg("queries"), sizes=heads)
    yield Site(name="k", axes="BNTH", description=msg("the tokens' keys"), sizes=heads)
    yield Site(name="v", axes="BNTH", description=msg("the tokens' values"), sizes=heads)
    yield from softmax(part.n_heads, part.d_head, "H", SCORES[False, True], None, is_cross=False)
    yield states_site("out", msg("the output of attention"), width)
