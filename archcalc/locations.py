"""Classify the text of a source: preset, file, folder, hub repository or standard input."""

from __future__ import annotations

import os

from msgspec import Struct

from archcalc import presets
from archcalc.errors import InputError, nearest, shown
from archcalc.formats.suffixes import GGUF, PICKLES, SAFETENSORS
from archcalc.words import Message, msg

# The file with the architecture in a folder: our layout, or that of Hugging Face.
SPEC_FILE, CONFIG_FILE = "spec.yaml", "config.json"
# A text with one of these suffixes is a file name, never a repository.
FILE_SUFFIXES = (".yaml", ".yml", ".json", GGUF, SAFETENSORS, *PICKLES)


class SpecFile(Struct, frozen=True):
    """A YAML spec; also any other file without a known suffix."""

    text: str
    path: str


class ConfigFile(Struct, frozen=True):
    """A JSON file: a Hugging Face config, a spec, or a tokenizer."""

    text: str
    path: str


class Folder(Struct, frozen=True):
    """A folder, in our layout or that of Hugging Face."""

    text: str
    path: str

    @property
    def file(self) -> str:
        """The path of the file with the architecture, which may not exist."""
        own = os.path.join(self.path, SPEC_FILE)
        return own if os.path.isfile(own) else os.path.join(self.path, CONFIG_FILE)


class Gguf(Struct, frozen=True):
    """A GGUF file: architecture, weights and tokenizer."""

    text: str
    path: str


class Safetensors(Struct, frozen=True):
    """A single safetensors file: weights without an architecture."""

    text: str
    path: str


class Pickle(Struct, frozen=True):
    """A pickle file of PyTorch, which is never read."""

    text: str
    path: str

    @property
    def refusal(self) -> InputError:
        """Return the error for an attempt to read it."""
        problem = msg("a pickle can run code when it is read")
        return InputError(problem, allowed=msg("safetensors or .gguf"), file=self.text)


class Preset(Struct, frozen=True):
    """A preset: its file, and the folder of its weights if they come with archcalc."""

    text: str
    path: str
    weights: Folder | None


class Repo(Struct, frozen=True):
    """A repository on the Hugging Face hub."""

    text: str


class Stdin(Struct, frozen=True):
    """Standard input."""

    text: str = "-"


Location = Preset | SpecFile | ConfigFile | Folder | Gguf | Safetensors | Pickle | Repo | Stdin

_BY_SUFFIX: dict[str, type[ConfigFile | Gguf | Safetensors | Pickle]] = {
    ".json": ConfigFile,
    GGUF: Gguf,
    SAFETENSORS: Safetensors,
    **dict.fromkeys(PICKLES, Pickle),
}


def locate(text: str, *, bare_paths: bool = False) -> Location:
    """Return the location that a source text denotes, without reading or downloading it.

    Tried in order: '-', an existing path with a slash or a suffix, a preset's name, a repo id. With `bare_paths`, an
    existing path with neither slash nor suffix is tried after the presets.

    Raises InputError for any other text.
    """
    if text == "-":
        return Stdin()
    path = os.path.expanduser(text)
    exists = "\0" not in text and os.path.exists(path)
    if exists and (has_path_form(text) or _is_checkout(text, path)):
        return _path_location(text, path)
    if preset := presets.path_of(text):
        weights = presets.weights_path(text)
        return Preset(text, preset, Folder(text, weights) if weights else None)
    if exists and bare_paths:
        return _path_location(text, path)
    if _is_repo_id(text):
        return Repo(text)
    if "/" in text or _suffix(text) in FILE_SUFFIXES:
        raise InputError(msg("no such file"), file=text, allowed=msg("a path that exists, or a Hugging Face repo id"))
    raise InputError(
        msg("no preset is called {value}{hint}", value=shown(text), hint=_hint(text)),
        file=text,
        allowed=msg("a preset ('archcalc presets' lists them), a path, or a Hugging Face repo id"),
    )


class NoWeightsError(InputError):
    """A source that describes an architecture but has no weights."""


def weights_location(source: str | Location) -> Folder | Gguf | Repo:
    """Return where a source's weights are, without reading them.

    Raises NoWeightsError for a source that has none, InputError for one that is none or a pickle.
    """
    match locate(source, bare_paths=True) if isinstance(source, str) else source:
        case Folder() | Gguf() | Repo() as location:
            return location
        case Preset(text=text, weights=Folder(path=path)):
            return Folder(text, path)
        case Pickle() as pickle:
            raise pickle.refusal
        case other:
            expected = "a folder with safetensors, a .gguf file, a Hugging Face repo id"
            raise NoWeightsError(msg("has no weights"), file=other.text, allowed=expected)


def has_path_form(text: str) -> bool:
    """Return whether a text is tried as a path first: it has a slash or a suffix."""
    return "/" in text or bool(_suffix(text))


def _path_location(text: str, path: str) -> Location:
    return Folder(text, path) if os.path.isdir(path) else _BY_SUFFIX.get(_suffix(text), SpecFile)(text, path)


def _is_checkout(text: str, path: str) -> bool:
    return text in (".", "..") and os.path.isfile(Folder(text, path).file)


def _is_repo_id(text: str) -> bool:
    owner, _, name = text.partition("/")
    return owner[:1].isalnum() and bool(name) and "/" not in name and _suffix(text) not in FILE_SUFFIXES


def _suffix(text: str) -> str:
    return os.path.splitext(text)[1].lower()


def _hint(text: str) -> str | Message:
    """Return ' (did you mean …?)' with a file in the current folder, or a preset with a similar name."""
    candidates = (f"./{text}/{CONFIG_FILE}", f"./{text}.yaml", f"./{text}.json", f"./{text}")
    files = [name for name in candidates if text.strip(".") and "\0" not in text and os.path.isfile(name)]
    if files:
        return msg(" (did you mean {name}?)", name=repr(files[0].removesuffix(f"/{CONFIG_FILE}")))
    return nearest(text, [*presets.names(), *presets.ALIASES])
