"""The sites of compressed convolutional attention."""

from __future__ import annotations

from collections.abc import Iterator

from archcalc.spec.cca import ConvolutionalAttention
from archcalc.spec.layer import Reads
from archcalc.spec.sites import SCORES, Site, Sizes, softmax, states_site
from archcalc.words import msg


def convolutional(part: ConvolutionalAttention, width: Sizes, reads: Reads) -> Iterator[Site]:
    """Yield the sites of an attention whose queries and keys are convolved."""
    assert part.n_kv_heads is not None and part.d_head is not None, "the spec is resolved"  # noqa: PT018
    channels = {"Z": (part.n_heads + part.n_kv_heads) * part.d_head}
    both = msg("queries and keys, convolved with the tokens before")
    yield Site(name="qk_conv", axes="BTZ", description=both, sizes=channels)
    change = msg("normalized") if part.position is None else msg("normalized, rotated")
    queries, keys = msg("queries, {change}", change=change), msg("the tokens' keys, {change}: as cached", change=change)
    yield Site(name="q", axes="BNTH", description=queries, sizes={"N": part.n_heads, "H": part.d_head})
    sizes = {"K": part.n_kv_heads, "H": part.d_head}
    yield Site(name="k", axes="BKTH", description=keys, sizes=sizes)
    values = msg("the tokens' values, some of the token before: as cached")
    yield Site(name="v", axes="BKTH", description=values, sizes=sizes)
    yield from softmax(part.n_heads, part.d_head, "H", SCORES[False, False], part.window, reads == "source")
    yield states_site("out", msg("the output of attention"), width)
