"""The geometry of token vectors as pages."""

from __future__ import annotations

from collections.abc import Sequence

from archcalc.errors import shown
from archcalc.interp.embed.result import (
    TABLES,
    Analogy,
    AnalogyToken,
    ContextualSimilarity,
    LayerSimilarity,
    NearestTokens,
    NearToken,
    PrincipalComponent,
    ProjectedWord,
    Projection,
    Word,
    WordContext,
)
from archcalc.render.page import Block, Page, Text
from archcalc.render.tables import table
from archcalc.words import Message, msg

# Principal components in tables; JSON has all of them.
N_COMPONENTS = 10


def near_view(result: NearestTokens, options: None = None) -> Page:
    """Return the page of the tokens nearest to each word."""
    blocks: list[Block] = [table(msg("Nearest tokens"), result.neighbors, NearToken)]
    if any(row.ids for row in result.words):
        blocks.append(words_text(result.words))
        own = msg("the word's own tokens included") if result.with_inputs else msg("the word's own tokens left out")
    else:
        own = msg("of the residual stream, without the final norm")
    subtitle = msg("{space}; {own}", space=space(result), own=own)
    if result.direction is None:
        return Page(msg("{model}: nearest tokens", model=result.label), subtitle, blocks)
    title = msg("{model}: tokens nearest to the direction {direction}", model=result.label, direction=result.direction)
    return Page(title, subtitle, blocks)


def analogy_view(result: Analogy, options: None = None) -> Page:
    """Return the page of the tokens nearest to a − b + c, and the rank of the expected word."""
    a, b, c, d = (row.word for row in result.words)
    lines = [
        msg("with {a}, {b}, {c} among the candidates: rank {rank:,}", a=a, b=b, c=c, rank=result.rank),
        msg("without them: rank {rank:,}", rank=result.rank_without_inputs)
        if result.rank_without_inputs
        else msg("without them: none, as {d} is one of them", d=d),
        msg("cosine {cosine}", cosine=f"{result.cosine:.4f}"),
    ]
    blocks: list[Block] = [
        Text(msg("{d} among {n:,} tokens", d=d, n=result.n_tokens), lines),
        table(msg("Nearest tokens"), result.tokens, AnalogyToken),
        words_text(result.words),
    ]
    title = msg("{model}: {a} − {b} + {c}", model=result.label, a=a, b=b, c=c)
    subtitle = msg("{space}; vectors have length 1 before they are added", space=space(result))
    return Page(title, subtitle, blocks)


def contexts_view(result: ContextualSimilarity, options: None = None) -> Page:
    """Return the page of a word in two contexts, layer by layer."""
    contexts = [
        msg("{text}: positions {positions}", text=_context(row), positions=", ".join(map(str, row.positions)))
        for row in result.contexts
    ]
    blocks: list[Block] = [
        Text(msg("Contexts"), contexts),
        table(msg("Similarity by layer"), result.layers, LayerSimilarity),
    ]
    title = msg("{model}: {word} in two contexts", model=result.label, word=result.word)
    return Page(title, msg("cosine of the word's states, the mean of its tokens'; measured"), blocks)


def projection_view(result: Projection, options: None = None) -> Page:
    """Return the page of words on the plane of their first two principal components."""
    blocks: list[Block] = [
        table(msg("Words on the plane"), result.points, ProjectedWord),
        table(msg("Principal components"), result.components[:N_COMPONENTS], PrincipalComponent),
        words_text(result.words),
    ]
    return Page(projection_title(result), msg("{space}; components of these words", space=space(result)), blocks)


def projection_title(result: Projection) -> Message:
    """Return the title of the page and of the chart."""
    return msg("{model}: words on a plane", model=result.label)


def words_text(words: Sequence[Word]) -> Text:
    """Return the tokens that each word was read as."""
    return Text(msg("Tokens of each word, its vector their mean"), [_tokens(row) for row in words])


def space(result: NearestTokens | Analogy | Projection) -> Message:
    """Return which matrix the vectors are rows of."""
    return msg("rows of the {table}, measured", table=TABLES[result.table])


def _tokens(row: Word) -> str:
    pieces = [
        f"{shown(piece)} {token}" if piece else str(token) for piece, token in zip(row.tokens, row.ids, strict=True)
    ]
    return f"{row.word}: {', '.join(pieces)}"


def _context(row: WordContext) -> str | Message:
    return shown(row.text, 200)
