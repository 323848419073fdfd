"""What the views show before anything is typed."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

import msgspec

from archcalc.spec.yaml_reader import parse
from archcalc.typed_data import convert

_FILE: Final = Path(__file__).with_name("examples.yaml")


class Example(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Texts of every view. Of a model without a tokenizer, they are token ids.

    `words` and `analogy` are several, separated by spaces.
    """

    prompt: str
    positive: str
    negative: str
    words: str
    analogy: str
    contexts: tuple[str, str]
    word: str
    corrupted: str = ""


def example(name: str, *, has_tokenizer: bool) -> Example:
    """Return the example of a model by its source; of an unknown one, that of all models with or without tokenizer."""
    found = _examples()
    return found.get(name) or found["text" if has_tokenizer else "ids"]


@cache
def _examples() -> dict[str, Example]:
    return convert(parse(_FILE.read_bytes()), dict[str, Example])
