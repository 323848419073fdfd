"""The named points of sparse attention. Axes: as in `archcalc.spec.sites`."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from archcalc.spec.layer import Reads
from archcalc.spec.sites import SCORES, Site, Sizes, softmax, states_site
from archcalc.spec.sparse import RandomBlocks, SparseAttention, summary_bias
from archcalc.words import msg

# Whether there are summaries → descriptions of keys and of values.
_KEYS = {False: msg("the tokens' keys"), True: msg("the tokens' keys, then those of summaries")}
_VALUES = {False: msg("the tokens' values"), True: msg("the tokens' values, then those of summaries")}
_GLOBAL = {
    "global_q": ("BNPH", msg("queries of global tokens")),
    "global_k": ("BNTH", msg("the keys that global tokens read")),
    "global_v": ("BNTH", msg("the values that global tokens read")),
}


def sparse(part: SparseAttention, width: Sizes, reads: Reads) -> Iterator[Site]:
    """Yield the sites of a sparse attention; summaries are keys after those of the tokens."""
    assert part.d_head is not None, "the spec is resolved"
    heads = {"N": part.n_heads, "H": part.d_head}
    n_block = part.summaries.n_block if part.summaries else None
    yield Site(name="q", axes="BNTH", description=msg("queries"), sizes=heads)
    axes = "BNSH" if part.summaries else "BNTH"
    yield Site(name="k", axes=axes, description=_KEYS[n_block is not None], sizes=heads, n_block=n_block)
    yield Site(name="v", axes=axes, description=_VALUES[n_block is not None], sizes=heads, n_block=n_block)
    if part.n_global:
        for name, (axes, description) in _GLOBAL.items():
            yield Site(name=name, axes=axes, description=description, sizes=heads | {"P": part.n_global})
    is_biased = isinstance(part.pattern, RandomBlocks) or summary_bias(part) is not None
    for site in softmax(part.n_heads, part.d_head, "H", SCORES[False, is_biased], None, is_cross=False):
        yield msgspec.structs.replace(site, n_block=n_block if "S" in site.axes else None)
    yield states_site("out", msg("the output of attention"), width)
