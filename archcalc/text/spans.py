"""Which tokens of a text stand for some words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate

from archcalc.errors import InputError, shown
from archcalc.text.tokenizer import Tokenizer
from archcalc.words import msg


def token_spans(tokenizer: Tokenizer, text: str) -> list[tuple[int, int]]:
    """Return the characters [start, end) of a text that each of its tokens stands for, without special tokens.

    Tokens that share a character stand for all the characters up to the next token whose text is found.
    """
    pieces = [piece for _, piece in tokenizer.splits(text)]
    found = list(_found_starts(text, pieces))
    ends = accumulate(
        (start + len(piece) if start >= 0 else 0 for start, piece in zip(found, pieces, strict=True)), max
    )
    before = [0, *ends]
    following = [*accumulate((start if start >= 0 else len(text) for start in reversed(found)), min)][::-1]
    return [
        (start, start + len(piece)) if start >= 0 else (before[i], following[i])
        for i, (start, piece) in enumerate(zip(found, pieces, strict=True))
    ]


def _found_starts(text: str, pieces: Sequence[str]) -> Iterator[int]:
    """Yield where each piece starts; −1 where it is not the next text."""
    at, is_known = 0, True
    for piece in pieces:
        start = text.find(piece, at) if piece else -1
        # Characters may be skipped if they are spaces, or if the pieces before were not found.
        is_known = start >= 0 and not (is_known and text[at:start].strip())
        at = start + len(piece) if is_known else at
        yield start if is_known else -1


def positions_of(tokenizer: Tokenizer, text: str, words: str, where: str) -> list[int]:
    """Return the positions of the tokens of every occurrence of `words`, special tokens counted.

    Raises InputError if the text does not have them.
    """
    ids, plain = tokenizer.encode(text), tokenizer.encode(text, special=False)
    n_before = next((i for i in range(len(ids)) if ids[i : i + len(plain)] == plain), 0)
    wanted = words.strip() or words
    starts = [i for i in range(len(text)) if wanted and text.startswith(wanted, i)]
    found = [
        n_before + i
        for i, (start, end) in enumerate(token_spans(tokenizer, text))
        if any(start < at + len(wanted) and end > at for at in starts)
    ]
    if not found:
        raise InputError(
            msg("found {found}", found=shown(words)), where=where, allowed=msg("words of {text}", text=shown(text))
        )
    return found
