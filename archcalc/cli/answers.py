"""Tokens given as texts or ids, and words of a prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from archcalc.errors import InputError
from archcalc.words import msg

if TYPE_CHECKING:
    from archcalc.run.loading.source import ModelSource


def token_of(opened: ModelSource, text: str | None, token_id: int | None, where: str) -> int | None:
    """Return a token given as a text or as an id, None without either. Raises InputError for both."""
    from archcalc.text.spans import single_token

    if text is None or token_id is not None:
        if text is not None:
            raise InputError(msg("both"), where=f"{where}, {where}_id", allowed=msg("one of them"))
        return token_id
    if opened.tokenizer is None:
        raise InputError(msg("there is no tokenizer"), where=where, allowed=msg("a token id"))
    return single_token(opened.tokenizer, text, where)
