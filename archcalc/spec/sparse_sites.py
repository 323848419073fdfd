"""The named points of sparse attention. Axes: as in `archcalc.spec.sites`."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from archcalc.spec.layer import Reads
from archcalc.spec.sites import SCORES, Site, Sizes, softmax, states_site
from archcalc.spec.sparse import RandomBlocks, SparseAttention, summary_bias
from archcalc.words import msg


def sparse(part: SparseAttention, width: Sizes, reads: Reads) -> Iterator[Site]:
    """Yield the sites of a sparse attention; the last columns of scores and patterns are those of summaries."""
    assert part.d_head is not None, "the spec is resolved"
    heads = {"N": part.n_heads, "H": part.d_head}
    for name, description in {
        "q": msg("queries"),
        "k": msg("the tokens' keys"),
        "v": msg("the tokens' values"),
    }.items():
        yield Site(name=name, axes="BNTH", description=description, sizes=heads)
    is_biased = isinstance(part.pattern, RandomBlocks) or summary_bias(part) is not None
    for site in softmax(part.n_heads, part.d_head, "H", SCORES[False, is_biased], None, is_cross=False):
        n_block = part.summaries.n_block if part.summaries and "S" in site.axes else None
        yield msgspec.structs.replace(site, n_block=n_block)
    yield states_site("out", msg("the output of attention"), width)
