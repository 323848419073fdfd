"""The sites of attention by experts."""

from __future__ import annotations

from collections.abc import Iterator

from archcalc.spec.layer import Reads
from archcalc.spec.routed import RoutedAttention
from archcalc.spec.sites import SCORES, Site, Sizes, softmax, states_site
from archcalc.words import msg


def routed(part: RoutedAttention, width: Sizes, reads: Reads) -> Iterator[Site]:
    """Yield the sites of an attention whose queries and outputs are projected by experts."""
    assert part.d_head is not None, "the spec is resolved"
    choices = {"k": part.n_active}
    yield Site(name="router", axes="BTE", description=msg("a score for each expert"), sizes={"E": part.n_experts})
    yield Site(name="chosen", axes="BTk", description=msg("the chosen experts"), sizes=choices)
    yield Site(name="weights", axes="BTk", description=msg("the weights of the chosen experts"), sizes=choices)
    queries, keys = msg("queries"), msg("the tokens' keys: as cached")
    if part.position is not None:
        queries = msg("queries, {change}", change=msg("rotated"))
        keys = msg("the tokens' keys, {change}: as cached", change=msg("rotated"))
    yield Site(name="q", axes="BNTH", description=queries, sizes={"N": part.n_heads, "H": part.d_head})
    sizes = {"K": part.n_kv_heads, "H": part.d_head}
    yield Site(name="k", axes="BKTH", description=keys, sizes=sizes)
    yield Site(name="v", axes="BKTH", description=msg("the tokens' values: as cached"), sizes=sizes)
    yield from softmax(part.n_heads, part.d_head, "H", SCORES[False, False], None, reads == "source")
    outputs = msg("the output of each chosen expert")
    yield Site(name="experts", axes="BTkD", description=outputs, sizes=choices | width)
    yield states_site("out", msg("the output of attention"), width)
