"""Tokens that a user names by their texts."""

from __future__ import annotations

from collections.abc import Sequence

from archcalc.errors import InputError, shown
from archcalc.run.loading.source import ModelSource
from archcalc.words import msg


def named_tokens(source: ModelSource, texts: Sequence[str], ids: Sequence[int] = ()) -> list[int]:
    """Return the ids of tokens: each text as one token, if possible with a space before it, then the given ids.

    "Paris" is the token " Paris" where the vocabulary has it, as that is how a word continues a text. A text that
    begins with a space is taken as it is. Raises InputError for a text of several tokens.
    """
    return list(dict.fromkeys([*(_token(source, text) for text in texts), *ids]))


def _token(source: ModelSource, text: str) -> int:
    if source.tokenizer is None:
        raise InputError(msg("there is no tokenizer"), where="tokens", allowed=msg("`token_ids`"))
    spellings = [text] if text[:1].isspace() else [f" {text}", text]
    rows = [source.tokenizer.encode(spelling, special=False) for spelling in spellings]
    for row in rows:
        if len(row) == 1:
            return row[0]
    pieces = ", ".join(repr(source.piece(token)) for token in rows[-1])
    raise InputError(
        msg("{text} is {n} tokens: {pieces}", text=shown(text), n=len(rows[-1]), pieces=pieces),
        where="tokens",
        allowed=msg("the text of one token, or `token_ids`"),
    )
