"""The one door: whatever stands for an architecture becomes a Spec here."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from archcalc import presets
from archcalc.errors import InputError, nearest, shown
from archcalc.spec import Spec
from archcalc.spec.document import Document, decode, override
from archcalc.spec.text import MAX_BYTES, parse

MAX_BASES = 10
GGUF = ".gguf"
# What says the architecture in a folder: of our own layout, or of Hugging Face's.
SPEC_FILE, CONFIG_FILE = "spec.yaml", "config.json"
FILE_SUFFIXES = (".yaml", ".yml", ".json", GGUF)

# What is said of a model is not true of the next one that is built on it.
_NOT_INHERITED: Document = {"title": "", "note": "", "claims": [], "provenance": {}}

# What a document says about the model, and not of its architecture.
_ABOUT = ("name", "title", "source", "note", "claims", "provenance")


def load(source: str | os.PathLike[str] | Document, changes: Document | None = None) -> Spec:
    """The Spec that `source` stands for, with `changes` (field → value) applied.

    A source is a path (YAML, config.json or a folder with one, a GGUF file), a preset's name, a Hugging Face repo id,
    '-' for standard input, or a dict that says what such a file would.

    Raises InputError, in one line, for whatever is not a valid architecture.
    """
    try:
        found = document_of(source)
        return decode(_titled(override(found, changes), changes) if changes else found)
    except InputError as error:
        raise (_fault_of_base(source) or error).within("" if isinstance(source, dict) else str(source)) from None


def document_of(source: str | os.PathLike[str] | Document) -> Document:
    """The full document that a source stands for, a config translated and its bases followed; see `load`."""
    return _understood(source, ()) if isinstance(source, dict) else _document(str(source), ())


def _titled(document: Document, changes: Document) -> Document:
    """The title says what was changed of the architecture, so that no page passes for the published model's."""
    said = ", ".join(f"{key}={_as_written(value)}" for key, value in changes.items() if key not in _ABOUT)
    title = document["title"] or document["name"]
    return document | {"title": f"{title} with {said}"} if said and isinstance(title, str) else document


def _as_written(value: Any) -> str:
    """A value as a file would say it; of what holds others, only that it does."""
    if isinstance(value, dict | list):
        return "{…}" if isinstance(value, dict) else "[…]"
    return value if isinstance(value, str) else shown(value).lower().replace("none", "null")


def _document(source: str, seen: tuple[str, ...]) -> Document:
    """The full document of a named source, its bases followed."""
    if source in seen or len(seen) >= MAX_BASES:
        raise InputError(f"{shown(source)} leads back to itself", where="base", allowed="bases that come to an end")
    if source.endswith(GGUF) and (path := _path(source)):
        from archcalc.formats.gguf_file import read_header
        from archcalc.hf.gguf import config_of

        return _understood(config_of(read_header(Path(path))), (*seen, source))
    data = _read(source)
    try:
        return _understood(parse(data), (*seen, source))
    except InputError as error:
        raise error.within(source) from None


def _understood(data: Any, seen: tuple[str, ...]) -> Document:
    """Plain data as a spec's document: a Hugging Face config translated, a base merged with what differs."""
    if not isinstance(data, dict):
        raise InputError(f"found {shown(data)}", allowed="a mapping: a spec, or a Hugging Face config")
    if "model_type" in data:
        from archcalc.hf import from_config

        return from_config(data)
    if "base" not in data:
        return data
    base = data["base"]
    if not isinstance(base, str):
        raise InputError(f"found {shown(base)}", where="base", allowed="the name or path of another spec")
    differs = {key: value for key, value in data.items() if key != "base"}
    return override(_document(_beside(base, seen), seen) | _NOT_INHERITED, differs)


def _beside(base: str, seen: tuple[str, ...]) -> str:
    """A base as its file means it: a path that leads somewhere from there, else what it says anywhere."""
    folder = os.path.dirname(os.path.expanduser(seen[-1])) if seen else ""
    path = os.path.join(os.curdir, os.path.normpath(os.path.join(folder, os.path.expanduser(base))))
    return path if _looks_like_path(base) and "\0" not in path and os.path.exists(path) else base


def _fault_of_base(source: str | os.PathLike[str] | Document, seen: tuple[str, ...] = ()) -> InputError | None:
    """What is wrong with a source's base by itself, told of that file; None where the source is at fault.

    Asked only when something is: that a base is right need not be found out each time.
    """
    base = _base_of(source)
    if base is None or base in seen:
        return None
    try:
        decode(_document(base, ()))
    except InputError as error:
        return (_fault_of_base(base, (*seen, base)) or error).within(base)
    return None


def _base_of(source: str | os.PathLike[str] | Document) -> str | None:
    """The base that a source names, where both can be read."""
    try:
        data = source if isinstance(source, dict) else parse(_read(str(source)))
        if not isinstance(data, dict) or not isinstance(data.get("base"), str):
            return None
        base = _beside(data["base"], () if isinstance(source, dict) else (str(source),))
        _read(base)
    except InputError:
        return None
    return base


def _read(source: str) -> bytes:
    """The bytes of a named source."""
    if source == "-":
        if sys.stdin is None:
            raise InputError("standard input is closed", allowed="an open one")
        return sys.stdin.buffer.read(MAX_BYTES + 1)
    path = _path(source) or _from_hub(source)
    try:
        with open(path, "rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"{_said_of(source)}cannot be read ({error.strerror})", file=source) from None


def _said_of(source: str) -> str:
    return f"is a folder, whose {CONFIG_FILE} " if os.path.isdir(os.path.expanduser(source)) else ""


def _from_hub(repo: str) -> str:
    from archcalc.hf.hub import config_path

    return str(config_path(repo))


def _path(source: str) -> str | None:
    """The file a source names: itself if it looks like a path, else the preset so called; None for a repo id."""
    path, suffix = os.path.expanduser(source), os.path.splitext(source)[1]
    config = _in_folder(path)
    if _looks_like_path(source) and "\0" not in source and os.path.exists(path):
        return config if os.path.isdir(path) else path
    if source in (".", "..") and os.path.exists(config):
        return config
    if preset := presets.path_of(source):
        return preset
    if source.count("/") == 1 and source[0].isalnum() and suffix not in FILE_SUFFIXES:
        return None
    if "/" in source or suffix in FILE_SUFFIXES:
        raise InputError("no such file")
    raise InputError(
        f"no preset is called {shown(source)}{_meant(source)}",
        allowed="a preset ('archcalc presets' lists them), a path, or a Hugging Face repo id",
    )


def _looks_like_path(source: str) -> bool:
    return "/" in source or bool(os.path.splitext(source)[1])


def _in_folder(path: str) -> str:
    """The file of a folder that says the architecture."""
    own = os.path.join(path, SPEC_FILE)
    return own if os.path.isfile(own) else os.path.join(path, CONFIG_FILE)


def _meant(source: str) -> str:
    """' (did you mean …?)': a file here, which the source would name with a slash, or a preset."""
    here = (f"./{source}/config.json", f"./{source}.yaml", f"./{source}.json", f"./{source}")
    files = [name for name in here if source.strip(".") and "\0" not in source and os.path.isfile(name)]
    if files:
        return f" (did you mean {files[0].removesuffix('/config.json')!r}?)"
    return nearest(source, [*presets.names(), *presets.SHORT])
