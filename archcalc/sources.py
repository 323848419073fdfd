"""The one door: whatever stands for an architecture becomes a Spec here."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from archcalc.errors import InputError, shown
from archcalc.locations import (
    CONFIG_FILE,
    ConfigFile,
    Folder,
    Gguf,
    Location,
    Pickle,
    Preset,
    Repo,
    Safetensors,
    SpecFile,
    Stdin,
    has_path_form,
    locate,
)
from archcalc.spec import Spec
from archcalc.spec.document import Document, decode, override, with_about
from archcalc.spec.yaml_reader import MAX_BYTES, parse
from archcalc.words import msg

__all__ = ["document_of", "load", "locate"]

MAX_BASES = 10

# A document that has one of these is meant as a spec.
_IS_SPEC = {"encoder", "decoder", "n_ctx"}


def load(source: str | os.PathLike[str] | Document, changes: Document | None = None) -> Spec:
    """Return the Spec that `source` stands for, with `changes` (field → value) applied.

    A source is a path (YAML, config.json or a folder with one, a GGUF file), a preset's name, a Hugging Face repo id,
    '-' for standard input, or a dict that says what such a file would.

    Raises InputError, in one line, for whatever is not a valid architecture.
    """
    try:
        found = document_of(source)
        return decode(_titled(override(found, changes), changes) if changes else found)
    except InputError as error:
        raise (_fault_of_base(source) or error).within("" if isinstance(source, dict) else str(source)) from None


def document_of(source: str | os.PathLike[str] | Document | Location) -> Document:
    """The full document that a source stands for, a config translated and its bases followed; see `load`."""
    if isinstance(source, dict):
        return _understood(source, ())
    return _document(locate(str(source)) if isinstance(source, str | os.PathLike) else source, ())


def _titled(document: Document, changes: Document) -> Document:
    """The title says what was changed of the architecture, so that no page passes for the published model's."""
    of_architecture = {
        key: changes[key] for key in with_about(changes) if key.partition(".")[0] not in ("name", "about")
    }
    said = ", ".join(f"{key}={_as_written(value)}" for key, value in of_architecture.items())
    about = document["about"]
    if not said or not isinstance(about, dict):
        return document
    return document | {"about": about | {"title": f"{about['title'] or document['name']} with {said}"}}


def _as_written(value: Any) -> str:
    """A value as a file would say it; of what holds others, only that it does."""
    if isinstance(value, dict | list):
        return "{…}" if isinstance(value, dict) else "[…]"
    return value if isinstance(value, str) else str(shown(value)).lower().replace("none", "null")


def _document(location: Location, seen: tuple[str, ...]) -> Document:
    """The full document of a located source, its bases followed."""
    seen = (*seen, location.text)
    if isinstance(location, Gguf):
        from archcalc.formats.gguf_file import read_header
        from archcalc.hf.gguf import config_of

        return _understood(config_of(read_header(Path(location.path))), seen)
    data = _read(location)
    try:
        return _understood(parse(data), seen)
    except InputError as error:
        raise error.within(location.text) from None


def _understood(data: Any, seen: tuple[str, ...]) -> Document:
    """Plain data as a spec's document: a Hugging Face config translated, a base merged with what differs."""
    if not isinstance(data, dict):
        raise InputError(
            msg("found {data}", data=shown(data)), allowed=msg("a mapping: a spec, or a Hugging Face config")
        )
    if "model_type" in data:
        from archcalc.hf import from_config

        return from_config(data)
    if "base" not in data:
        if not _IS_SPEC & data.keys():
            from archcalc.hf.other_files import check

            check(data)
        return with_about(data)
    base = data["base"]
    if not isinstance(base, str):
        raise InputError(
            msg("found {base}", base=shown(base)), where="base", allowed=msg("the name or path of another spec")
        )
    differs = {key: value for key, value in data.items() if key != "base"}
    return override(_inherited(_document(_located_base(base, seen), seen)), differs)


def _inherited(document: Document) -> Document:
    """A base without what is true of it alone: only where its sizes come from holds for what is built on it."""
    about = document.get("about")
    return document | {"about": {"source": about.get("source", []) if isinstance(about, dict) else []}}


def _located_base(base: str, seen: tuple[str, ...]) -> Location:
    text = _beside(base, seen)
    if text in seen or len(seen) >= MAX_BASES:
        raise InputError(
            msg("{value} leads back to itself", value=shown(text)),
            where="base",
            allowed=msg("bases that come to an end"),
        )
    try:
        return locate(text)
    except InputError as error:
        raise InputError(error.problem, where="base", allowed=error.allowed) from None


def _beside(base: str, seen: tuple[str, ...]) -> str:
    """A base as its file means it: a path that leads somewhere from there, else what it says anywhere."""
    folder = os.path.dirname(os.path.expanduser(seen[-1])) if seen else ""
    path = os.path.join(os.curdir, os.path.normpath(os.path.join(folder, os.path.expanduser(base))))
    return path if has_path_form(base) and "\0" not in path and os.path.exists(path) else base


def _fault_of_base(source: str | os.PathLike[str] | Document, seen: tuple[str, ...] = ()) -> InputError | None:
    """What is wrong with a source's base by itself, told of that file; None where the source is at fault.

    Asked only when something is: that a base is right need not be found out each time.
    """
    base = _base_of(source)
    if base is None or base in seen:
        return None
    try:
        decode(document_of(base))
    except InputError as error:
        return (_fault_of_base(base, (*seen, base)) or error).within(base)
    return None


def _base_of(source: str | os.PathLike[str] | Document) -> str | None:
    """The base that a source names, where both can be read."""
    try:
        data = source if isinstance(source, dict) else parse(_read(locate(str(source))))
        if not isinstance(data, dict) or not isinstance(data.get("base"), str):
            return None
        base = _beside(data["base"], () if isinstance(source, dict) else (str(source),))
        _read(locate(base))
    except InputError:
        return None
    return base


def _read(location: Location) -> bytes:
    """The bytes of what says an architecture."""
    match location:
        case Stdin():
            if sys.stdin is None:
                raise InputError(msg("standard input is closed"), allowed=msg("an open one"))
            return sys.stdin.buffer.read(MAX_BYTES + 1)
        case Repo(text=repo_id):
            from archcalc.hf.hub import config_path

            return _bytes(str(config_path(repo_id)), repo_id)
        case Folder(text=text) as folder:
            return _bytes(folder.file, text, f"is a folder, whose {CONFIG_FILE} ")
        case Safetensors(text=text):
            expected = f"the folder that it lies in, with a {CONFIG_FILE}"
            raise InputError(msg("has weights, and does not say their architecture"), file=text, allowed=expected)
        case Pickle():
            raise location.refusal
        case Preset() | SpecFile() | ConfigFile() | Gguf():
            return _bytes(location.path, location.text)


def _bytes(path: str, text: str, what: str = "") -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(
            msg("{what}cannot be read ({strerror})", what=what, strerror=error.strerror), file=text
        ) from None
