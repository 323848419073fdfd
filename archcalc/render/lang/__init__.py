"""What pages say, in the languages that they speak.

Each page's words are data in a file of its own here: a name → the same sentence in every language, in the order of
`LANGS`, its places for values in braces. Formulas and the names of fields are no words: they stay as they are.
"""

from __future__ import annotations

from importlib import import_module
from typing import Final

import msgspec

LANGS: Final = ("en", "zh")

Sentences = dict[str, tuple[str, str]]


class Words(msgspec.Struct, frozen=True):
    """One language: called with a sentence's name and what stands in its places, it gives the sentence.

    >>> words("zh")("explain.over_layers", n=96)
    '共 96 层'
    """

    lang: str = "en"

    def __call__(self, name: str, /, **values: object) -> str:
        """'page.name' → the sentence, filled in. KeyError for a name that the page has not."""
        page, _, own = name.partition(".")
        return sentences(page)[own][LANGS.index(self.lang)].format(**values)


def words(lang: str) -> Words:
    """The words of one of `LANGS`."""
    assert lang in LANGS, lang
    return Words(lang)


def sentences(page: str) -> Sentences:
    """All that a page says, by name."""
    found: Sentences = import_module(f"archcalc.render.lang.{page}").WORDS
    return found


ENGLISH = Words()
