"""The texts of compressed attention in a diagram."""

from __future__ import annotations

from archcalc.spec.compressed import CompressedAttention
from archcalc.units import exact
from archcalc.words import Translator, msg


def compressed(part: CompressedAttention, d_model: int, say: Translator) -> tuple[str, list[str]]:
    """Return the heading and the lines of compressed attention; its window is among the masks."""
    own = part.compression
    lines = [
        say(msg("{n} heads × {width}", n=exact(part.n_heads), width=exact(part.d_head))),
        say(msg("one key, which is the value, for all heads")),
        say(msg("latent: q {q}", q=exact(part.q_rank))),
        say(
            msg(
                "RoPE on {n} of {width}, θ {theta}",
                n=exact(part.d_rope),
                width=exact(part.d_head),
                theta=f"{part.position.theta:,.10g}",
            )
        ),
    ]
    if own is not None:
        text = msg("an entry for each {n} tokens, overlapping") if own.overlap else msg("an entry for each {n} tokens")
        lines.append(say(text.fill(n=exact(own.n_pool))))
        if own.indexer is not None:
            heads, width = exact(own.indexer.n_index_heads), exact(own.indexer.d_index)
            lines.append(say(msg("indexer: {n} heads × {width}", n=heads, width=width)))
            lines.append(say(msg("{n} entries selected for each query", n=exact(own.indexer.n_selected))))
    lines.append(say(msg("output: {n} groups → {rank} each", n=exact(part.n_out_groups), rank=exact(part.out_rank))))
    return say(msg("compressed attention")), lines
