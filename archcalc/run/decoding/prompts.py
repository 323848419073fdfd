"""Prompts: texts, or token ids written as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from archcalc.errors import InputError, shown
from archcalc.words import msg

if TYPE_CHECKING:
    from archcalc.run.loading.source import ModelSource


def prompt_ids(source: ModelSource, prompts: Sequence[str], id_lists: Sequence[str]) -> list[list[int]]:
    """Return the token ids of prompts, given as texts or as lists of ids, not both."""
    if bool(prompts) == bool(id_lists):
        raise InputError(msg("both") if prompts else msg("neither"), where="prompt, ids", allowed=msg("one of them"))
    if id_lists:
        return [_ids(text) for text in id_lists]
    if source.tokenizer is None:
        raise InputError(msg("there is no tokenizer"), where="prompt", allowed=msg("`ids`"))
    return [source.tokenizer.encode(text) for text in prompts]


def _ids(text: str) -> list[int]:
    try:
        return [int(part) for part in text.replace(",", " ").split()]
    except ValueError:
        raise InputError(
            msg("found {found}", found=shown(text)), where="ids", allowed=msg("integers with commas between")
        ) from None
