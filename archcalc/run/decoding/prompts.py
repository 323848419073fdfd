"""What a model is told to read: texts, or token ids as one writes them down."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from archcalc.errors import InputError, shown

if TYPE_CHECKING:
    from archcalc.run.loading.source import Opened


def prompt_ids(found: Opened, prompts: Sequence[str], id_lists: Sequence[str]) -> list[list[int]]:
    """The token ids of texts, or of lists of ids: one or the other."""
    if bool(prompts) == bool(id_lists):
        raise InputError("both" if prompts else "neither", where="prompt, ids", allowed="one of them")
    if id_lists:
        return [_ids(text) for text in id_lists]
    if found.tokenizer is None:
        raise InputError("there is no tokenizer", where="prompt", allowed="`ids`")
    return [found.tokenizer.encode(text) for text in prompts]


def _ids(text: str) -> list[int]:
    try:
        return [int(part) for part in text.replace(",", " ").split()]
    except ValueError:
        raise InputError(f"found {shown(text)}", where="ids", allowed="integers with commas between") from None
