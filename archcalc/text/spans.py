"""Which tokens of a text stand for some words, and the token of a word."""

from __future__ import annotations

from archcalc.errors import InputError, shown
from archcalc.text.tokenizer import Tokenizer
from archcalc.words import msg


def token_spans(tokenizer: Tokenizer, text: str) -> list[tuple[int, int]]:
    """Return the characters [start, end) of a text that each of its tokens stands for, without special tokens.

    Tokens that share a character stand for all the characters up to the next token whose text is found.
    """
    pieces = [piece for _, piece in tokenizer.splits(text)]
    starts: list[int | None] = []
    at = 0
    for piece in pieces:
        start = text.find(piece, at) if piece else -1
        is_found = start >= 0 and not text[at:start].strip()
        starts.append(start if is_found else None)
        at = start + len(piece) if is_found else at
    spans: list[tuple[int, int]] = []
    following = len(text)
    for i in range(len(pieces) - 1, -1, -1):
        start = starts[i]
        if start is None:
            before = next((s + len(pieces[j]) for j in range(i - 1, -1, -1) if (s := starts[j]) is not None), 0)
            spans.append((before, following))
        else:
            spans.append((start, start + len(pieces[i])))
            following = start
    return spans[::-1]


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


def single_token(tokenizer: Tokenizer, text: str, where: str) -> int:
    """Return the id of a text that is one token. Raises InputError, with the tokens, for another."""
    ids = tokenizer.encode(text, special=False)
    if len(ids) != 1:
        pieces = ", ".join(repr(tokenizer.piece(token)) for token in ids[:6])
        raise InputError(
            msg("{text} has {n} tokens ({pieces})", text=shown(text), n=len(ids), pieces=pieces),
            where=where,
            allowed=msg("one token, with the space before it, or its id"),
        )
    return ids[0]
