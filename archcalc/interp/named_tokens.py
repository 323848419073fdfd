"""Tokens and words that a user names by their texts."""

from __future__ import annotations

from collections.abc import Sequence

from archcalc.errors import InputError, parameter, shown
from archcalc.run.loading.source import ModelSource
from archcalc.words import msg

# Pieces of a text of several tokens that an error lists.
MAX_PIECES = 6


def readings(source: ModelSource, text: str, where: str, id_name: str) -> list[list[int]]:
    """Return the ids of a text after a space and as it is, without special tokens, the fewer tokens first.

    "Paris" is read as " Paris" where the vocabulary has it, as that is how a word continues a text. A text that begins
    with a space is read as it is. Raises InputError, which names the option for ids, where there is no tokenizer.
    """
    if source.tokenizer is None:
        raise InputError(msg("there is no tokenizer"), where=where, allowed=parameter(id_name))
    texts = [text] if text[:1].isspace() else [f" {text}", text]
    return sorted((source.tokenizer.encode(one, special=False) for one in texts), key=len)


def named_token(source: ModelSource, text: str, where: str, id_name: str) -> int:
    """Return the id of a text that is one token, as `readings` reads it. Raises InputError for one of several."""
    shortest = next((ids for ids in readings(source, text, where, id_name) if ids), [])
    if len(shortest) == 1:
        return shortest[0]
    pieces = ", ".join(repr(source.piece(token)) for token in shortest[:MAX_PIECES])
    raise InputError(
        msg("{text} is {n} tokens: {pieces}", text=shown(text), n=len(shortest), pieces=pieces),
        where=where,
        allowed=msg("the text of one token, or {option}", option=parameter(id_name)),
    )


def named_tokens(source: ModelSource, texts: Sequence[str], ids: Sequence[int] = ()) -> list[int]:
    """Return the ids of tokens given as texts, then the given ids, each once. Raises InputError as `named_token`."""
    return list(dict.fromkeys([*(named_token(source, text, "tokens", "token_ids") for text in texts), *ids]))


def token_or_id(source: ModelSource, text: str | None, token_id: int | None, where: str) -> int | None:
    """Return a token given as a text or as an id, None without either. Raises InputError for both."""
    if text is None:
        return token_id
    if token_id is not None:
        raise InputError(msg("both"), where=f"{where}, {where}_id", allowed=msg("one of them"))
    return named_token(source, text, where, f"{where}_id")
