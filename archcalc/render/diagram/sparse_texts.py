"""The text of the box of sparse attention in a diagram."""

from __future__ import annotations

from archcalc.spec.sparse import BlockSummaries, GlobalWindow, LocalBlocks, SparseAttention
from archcalc.units import exact
from archcalc.words import Translator, msg


def sparse(part: SparseAttention, d_model: int, say: Translator) -> tuple[str, list[str]]:
    """Return the heading and the lines of sparse attention."""
    heads = say(msg("{n} heads × {width}", n=exact(part.n_heads), width=exact(part.d_head or 0)))
    return say(msg("sparse attention")), [heads, *_pattern(part, say)]


def _pattern(part: SparseAttention, say: Translator) -> list[str]:
    pattern = part.pattern
    if isinstance(pattern, BlockSummaries):
        lines = [
            say(msg("window of {n}", n=exact(pattern.window))),
            say(msg("a summary of every {n} tokens", n=exact(pattern.n_block))),
        ]
        bias = pattern.position
        return lines + ([say(msg("relative bias, {n} buckets", n=bias.n_buckets))] if bias else [])
    if isinstance(pattern, GlobalWindow):
        window = say(msg("window of {n}", n=exact(pattern.window)))
        return [window, say(msg("{n} global tokens", n=exact(pattern.n_global)))] if pattern.n_global else [window]
    if isinstance(pattern, LocalBlocks):
        blocks = msg("blocks of {n}, half a block earlier") if pattern.staggered else msg("blocks of {n}")
        return [say(blocks.fill(n=exact(pattern.n_block)))]
    return [
        say(msg("blocks of {n}: neighbors, first, last", n=exact(pattern.n_block))),
        say(msg("{n} random blocks", n=exact(pattern.n_random))),
    ]
