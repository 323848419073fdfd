"""The named points of compressed attention. Axes: as in `archcalc.spec.sites`."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import structs

from archcalc.spec.compressed import CompressedAttention
from archcalc.spec.layer import Reads
from archcalc.spec.sites import SCORES, Site, Sizes, softmax, states_site
from archcalc.words import msg


def compressed(part: CompressedAttention, width: Sizes, reads: Reads) -> Iterator[Site]:
    """Yield the sites of compressed attention; entries are keys after those of the tokens."""
    own, one = part.compression, {"1": 1, "H": part.d_head}
    n_pool = own.n_pool if own else None
    yield Site(name="q", axes="BNTH", description=msg("queries, normalized, rotated"), sizes={"N": part.n_heads} | one)
    if own is not None:
        entries = msg("what stands for several tokens each, rotated: as cached")
        yield Site(name="entries", axes="BGH", description=entries, sizes=one, n_block=n_pool)
    keys = msg("keys, which are values too: of the tokens, rotated, then the entries")
    yield Site(name="k", axes="B1SH", description=keys, sizes=one, window=part.window, n_block=n_pool)
    if own is not None and own.indexer is not None:
        heads = {"X": own.indexer.n_index_heads, "J": own.indexer.d_index}
        yield Site(name="index_q", axes="BXTJ", description=msg("the indexer's queries, rotated"), sizes=heads)
        keys = msg("the indexer's keys of entries, rotated: as cached")
        yield Site(name="index_entries", axes="BGJ", description=keys, sizes=heads, n_block=n_pool)
        scores = msg("the indexer's score of each entry; −∞ where masked")
        yield Site(name="index_scores", axes="BTG", description=scores, sizes={}, n_block=n_pool)
    for site in softmax(part.n_heads, part.d_head, "H", SCORES[False, False], part.window, is_cross=False):
        yield structs.replace(site, n_block=n_pool if "S" in site.axes else None)
    yield states_site("out", msg("the output of attention"), width)
