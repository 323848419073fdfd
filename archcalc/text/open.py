"""The tokenizer of a Hugging Face folder, or of a GGUF file's metadata."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any

from archcalc.text import tokenizer_folder, tokenizer_gguf
from archcalc.text.tokenizer import Tokenizer


def of_folder(path: str | PathLike[str]) -> Tokenizer:
    """Return the tokenizer of a folder in Hugging Face layout, or of a tokenizer.json alone.

    Raise InputError if it is broken.
    """
    return tokenizer_folder.read(path)


def of_gguf(metadata: Mapping[str, Any], *, label: str = "GGUF") -> Tokenizer:
    """Return the tokenizer in a GGUF file's metadata, given as plain values.

    Raise InputError for a kind that is not in the tables.
    """
    return tokenizer_gguf.read(metadata, label)
