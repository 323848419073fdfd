"""Read words as the token ids that they have within a text, and find them in one."""

from __future__ import annotations

from collections.abc import Sequence

from archcalc.errors import InputError, shown
from archcalc.interp.named_tokens import readings
from archcalc.run.decoding.prompts import prompt_ids
from archcalc.run.loading.source import ModelSource
from archcalc.words import msg


def word_ids(source: ModelSource, words: Sequence[str], *, are_ids: bool = False) -> list[list[int]]:
    """Return the ids of words: of each, the reading with fewer tokens, after a space or as it is.

    With `are_ids`, words are written as ids already: '5', or '5,7' for a word of two tokens. A word that begins with a
    space is read as it is.
    """
    return prompt_ids(source, [], words) if are_ids else [_readings(source, word)[0] for word in words]


def positions_in(source: ModelSource, context: Sequence[int], word: str, *, are_ids: bool = False) -> list[int]:
    """Return the positions of a word's last occurrence in a context. Raises InputError if it does not occur."""
    found = word_ids(source, [word], are_ids=True) if are_ids else _readings(source, word)
    places = [
        (start, len(ids))
        for ids in found
        for start in range(len(context) - len(ids) + 1)
        if ids and list(context[start : start + len(ids)]) == ids
    ]
    if not places:
        pieces = " ".join(repr(source.piece(token) or token) for token in context)
        raise InputError(
            msg("{word} is not among the tokens {tokens}", word=shown(word), tokens=pieces),
            where="token",
            allowed=msg("a word of both contexts"),
        )
    start, n_tokens = max(places)
    return list(range(start, start + n_tokens))


def _readings(source: ModelSource, word: str) -> list[list[int]]:
    return readings(source, word, "words", "ids")
