"""Open the tokenizer of a source: a Hugging Face folder, or a GGUF file's metadata."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from archcalc.errors import InputError
from archcalc.extras import require
from archcalc.locations import ConfigFile, Folder, Gguf, Location, Preset, Repo, locate
from archcalc.text import tokenizer_folder, tokenizer_gguf
from archcalc.text.tokenizer import Tokenizer
from archcalc.words import msg


def open_tokenizer(source: str | Location) -> Tokenizer:
    """Return the tokenizer of a folder, a tokenizer.json, a GGUF file, a repository, or a preset's weights.

    Raise InputError if the source has none or a broken one; MissingExtraError if the reader is not installed.
    """
    match locate(source, bare_paths=True) if isinstance(source, str) else source:
        case Folder(path=path) | ConfigFile(path=path) | Preset(weights=Folder(path=path)):
            return of_folder(path)
        case Gguf(text=text, path=path):
            return _of_gguf_file(Path(path), text)
        case Repo(text=repo_id):
            from archcalc.hf.hub import snapshot_path

            return of_folder(snapshot_path(repo_id, weights=False))
        case other:
            expected = msg("a folder with tokenizer.json, a tokenizer.json, a .gguf file, a repo id")
            raise InputError(msg("has no tokenizer"), file=other.text, allowed=expected)


def of_folder(path: str | PathLike[str]) -> Tokenizer:
    """Return the tokenizer of a folder in Hugging Face layout, or of a tokenizer.json alone.

    Raise InputError if it is broken.
    """
    return tokenizer_folder.read(path)


def of_gguf(metadata: Mapping[str, Any], *, label: str = "GGUF") -> Tokenizer:
    """Return the tokenizer in a GGUF file's metadata, given as plain values.

    Raise InputError for an unknown kind.
    """
    return tokenizer_gguf.read(metadata, label)


def _of_gguf_file(path: Path, label: str) -> Tokenizer:
    require("gguf", does=msg("reading a GGUF file"), extra="run")
    from archcalc.formats.gguf_split import read_whole_header

    try:
        return of_gguf(read_whole_header(path).metadata, label=label)
    except InputError as error:
        raise error.within(label) from None
