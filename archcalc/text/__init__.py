"""Tokenizers and chat templates: `archcalc.text`.

Examples:
    >>> import archcalc
    >>> tokenizer = archcalc.text.open_tokenizer("tiny")
    >>> tokenizer.decode(tokenizer.encode("In the beginning"))
    'In the beginning'
    >>> archcalc.text.train_tokenizer("bpe", "the cat, the hat", 258).n_vocab
    258
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from archcalc._lazy import lookup

if TYPE_CHECKING:
    from archcalc.text.chat_template import render as render_chat
    from archcalc.text.open import open_tokenizer
    from archcalc.text.tokenizer import Stream, Tokenizer
    from archcalc.text.tokenizer_training import train as train_tokenizer

__all__ = ["Stream", "Tokenizer", "open_tokenizer", "render_chat", "train_tokenizer"]

_HOMES = {
    "Stream": "archcalc.text.tokenizer:Stream",
    "Tokenizer": "archcalc.text.tokenizer:Tokenizer",
    "open_tokenizer": "archcalc.text.open:open_tokenizer",
    "render_chat": "archcalc.text.chat_template:render",
    "train_tokenizer": "archcalc.text.tokenizer_training:train",
}


def _check() -> None:
    from archcalc.extras import require
    from archcalc.words import msg

    require("tokenizers", does=msg("tokenizing"), extra="run")


__getattr__ = lookup(__name__, _HOMES, _check)


def __dir__() -> list[str]:
    return __all__
