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
    check_given(prompts, id_lists)
    if id_lists:
        return [ids_of(text) for text in id_lists]
    if source.tokenizer is None:
        raise InputError(msg("there is no tokenizer"), where="prompt", allowed=msg("`ids`"))
    return [source.tokenizer.encode(text) for text in prompts]


def check_given(prompts: Sequence[str] | None, id_lists: Sequence[str] | None) -> None:
    """Raise InputError unless there are either texts or lists of ids: several, or one text; this needs no model."""
    has_texts, has_ids = (isinstance(given, str) or bool(given) for given in (prompts, id_lists))
    if has_texts == has_ids:
        problem = msg("both") if has_texts else msg("neither")
        raise InputError(problem, where="prompt, ids", allowed=msg("one of them"))


def one_prompt(source: ModelSource, prompt: str | None, ids: str | None) -> list[int]:
    """Return the token ids of one prompt, given as a text or as a list of ids."""
    return prompt_ids(source, [] if prompt is None else [prompt], [] if ids is None else [ids])[0]


# What a decoder has read: a text, or ids that begin with the start token.
DecoderText = str | list[int]


def decoder_ids(source: ModelSource, text: DecoderText | None) -> list[int] | None:
    """Return what the decoder of an encoder-decoder reads: its start token and a text; None for other models.

    Ids are read as they are. Raises InputError for a text for another model or without a tokenizer, and for an unknown
    start token.
    """
    if source.spec.family != "encoder-decoder":
        if text is not None:
            raise InputError(
                msg("found for a model of the family {family}", family=source.spec.family),
                where="target",
                allowed=msg("no value"),
            )
        return None
    if isinstance(text, list):
        return text
    start = decoder_start(source.start_id)
    if text is None:
        return [start]
    if source.tokenizer is None:
        raise InputError(msg("there is no tokenizer"), where="target", allowed=msg("`target_ids`"))
    return [start, *source.tokenizer.encode(text, special=False)]


def decoder_start(start_id: int | None) -> int:
    """Return the decoder start token. Raises InputError if it is not known."""
    if start_id is None:
        raise InputError(
            msg("not known"), where="decoder_start_token_id", allowed=msg("a token id that the decoder begins with")
        )
    return start_id


def ids_of(text: str, where: str = "ids") -> list[int]:
    """Return the ids in a text. Raises InputError for anything but integers."""
    try:
        return [int(part) for part in text.replace(",", " ").split()]
    except ValueError:
        raise InputError(
            msg("found {found}", found=shown(text)), where=where, allowed=msg("integers with commas between")
        ) from None
