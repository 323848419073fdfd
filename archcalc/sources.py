"""Load a Spec from any source: preset, YAML, config.json, GGUF, hub repository, dict or standard input."""

from __future__ import annotations

import os
import sys
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
from archcalc.prepared_presets import prepared
from archcalc.source_warnings import warn_of_misspellings
from archcalc.spec import Spec
from archcalc.spec.document import Document, decode, override, with_about
from archcalc.spec.text_bounds import MAX_BYTES
from archcalc.spec.yaml_reader import parse
from archcalc.words import joined, msg

__all__ = ["check_source", "document_of", "load", "locate", "spec_of"]

MAX_BASES = 10

# Beside the config of a folder, how ModelOpt quantized the weights.
MODELOPT_FILE = "hf_quant_config.json"
# A document with one of these keys is a spec.
_SPEC_KEYS = {"encoder", "decoder", "n_ctx"}


def load(source: str | os.PathLike[str] | Document, changes: Document | None = None) -> Spec:
    """Return the Spec of a source, with `changes` (field → value) applied.

    A source is a path (YAML, config.json or a folder with one, a GGUF file), a preset's name, a Hugging Face repo id,
    '-' for standard input, or a dict with the content of such a file.

    Raises InputError for anything that is not a valid architecture. Logs a warning for a key of a config.json that is
    not read and nearly equals one that is.
    """
    check_source(source)
    try:
        document = document_of(source)
        return decode(_with_title(override(document, changes), changes) if changes else document)
    except InputError as error:
        explained = _base_error(source) or _in_keys_of_config(error, source)
        raise explained.within("" if isinstance(source, dict) else str(source)) from None


def check_source(source: object) -> None:
    """Raise InputError for something that can be no source of `load`."""
    if not isinstance(source, str | os.PathLike | dict):
        allowed = msg("the name of a model, a path or a dict")
        raise InputError(msg("found {found}", found=shown(source)), where="source", allowed=allowed)


def spec_of(source: Spec | str | os.PathLike[str] | Document) -> Spec:
    """Return a Spec as it is, and that of any other source. Raises InputError as `load` does."""
    return source if isinstance(source, Spec) else load(source)


def document_of(source: str | os.PathLike[str] | Document | Location) -> Document:
    """Return the full document of a source (see `load`): configs are translated, bases merged."""
    if isinstance(source, dict):
        return _as_document(source, ())
    return _document(locate(str(source)) if isinstance(source, str | os.PathLike) else source, ())


def config_of(source: str | os.PathLike[str] | Document) -> dict[str, Any]:
    """Return the Hugging Face config of a source as its file has it, or the one that its spec is written as.

    Raises InputError for a source that is no architecture, or one that no model of transformers has.
    """
    check_source(source)
    location = None if isinstance(source, dict) else locate(str(source))
    try:
        data = source if location is None else None if isinstance(location, Gguf) else parse(_read(location))
        if isinstance(data, dict) and "model_type" in data:
            return data
        from archcalc.hf import to_config

        seen = () if location is None else (location.text,)
        is_read = location is None or isinstance(location, Stdin)
        return to_config(decode(_as_document(data, seen) if is_read or location is None else _document(location, ())))
    except InputError as error:
        raise error.within("" if location is None else location.text) from None


def stated_config(source: str | Location) -> dict[str, Any] | None:
    """Return the Hugging Face config that the file of a source states; None for others, and for standard input."""
    location = locate(source) if isinstance(source, str) else source
    if isinstance(location, Gguf | Preset | Stdin):
        return None
    data = parse(_read(location))
    return data if isinstance(data, dict) and "model_type" in data else None


def _with_title(document: Document, changes: Document) -> Document:
    """Return the document with the changes in its title, so that it is not mistaken for the published model."""
    architecture_changes = {
        key: changes[key] for key in with_about(changes) if key.partition(".")[0] not in ("name", "about")
    }
    suffix = ", ".join(f"{key}={_yaml_text(value)}" for key, value in architecture_changes.items())
    about = document["about"]
    if not suffix or not isinstance(about, dict):
        return document
    return document | {"about": about | {"title": f"{about['title'] or document['name']} with {suffix}"}}


def _yaml_text(value: Any) -> str:
    """Return a value as YAML, with the content of mappings and lists left out."""
    if isinstance(value, dict | list):
        return "{…}" if isinstance(value, dict) else "[…]"
    return value if isinstance(value, str) else str(shown(value)).lower().replace("none", "null")


def _document(location: Location, seen: tuple[str, ...]) -> Document:
    """Return the full document of a location, with its bases merged."""
    seen = (*seen, location.text)
    if isinstance(location, Gguf):
        from pathlib import Path  # takes long to import

        from archcalc.hf import gguf

        return gguf.document_of(gguf.read_header(Path(location.path)))
    data = _read(location)
    try:
        parsed = _prepared(location, data) or parse(data)
        return _with_stored_dtype(_as_document(_with_file_beside(parsed, location), seen), location)
    except InputError as error:
        raise error.within(location.text) from None


def _prepared(location: Location, data: bytes) -> Document | None:
    return prepared(location.path, data) if isinstance(location, Preset) else None


def _with_file_beside(data: Any, location: Location) -> Any:
    if not isinstance(location, Folder) or not isinstance(data, dict) or "model_type" not in data:
        return data
    return with_quantization(data, location.path)


def with_quantization(data: dict[str, Any], folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Return a config with the quantization that the file of ModelOpt beside it states."""
    path = os.path.join(folder, MODELOPT_FILE)
    if "quantization_config" in data or not os.path.isfile(path):
        return data
    try:
        return data | {"quantization_config": parse(_bytes(path, path))}
    except InputError as error:
        raise error.within(path) from None


def _with_stored_dtype(document: Document, location: Location) -> Document:
    """Return the document with the dtype of the weights beside a config that states none."""
    if not isinstance(location, Folder) or "storage" in document.get("about", {}):
        return document
    from archcalc.headers import stored_dtype

    if (found := stored_dtype(location)) is None:
        return document
    storage = {"dtype": found.dtype, "stated_by": [found.file]}
    return document | {"about": document.get("about", {}) | {"storage": storage}}


def _as_document(data: Any, seen: tuple[str, ...]) -> Document:
    """Return plain data as the document of a spec: Hugging Face configs are translated, a base is merged."""
    if not isinstance(data, dict):
        raise InputError(
            msg("found {found}", found=shown(data)), allowed=msg("a mapping: a spec, or a Hugging Face config")
        )
    if "model_type" in data:
        from archcalc.hf import from_config

        document = from_config(data)
        warn_of_misspellings(document, seen[-1] if seen else "")
        return document
    if "base" not in data:
        if not _SPEC_KEYS & data.keys():
            from archcalc.hf.other_files import check

            check(data)
        return with_about(data)
    base = data["base"]
    if not isinstance(base, str):
        raise InputError(
            msg("found {found}", found=shown(base)), where="base", allowed=msg("the name or path of another spec")
        )
    overrides = {key: value for key, value in data.items() if key != "base"}
    return override(_inherited(_document(_base_location(base, seen), seen)), overrides)


def _inherited(document: Document) -> Document:
    """Return a base without its own metadata; only the source of its sizes also applies to derived specs."""
    about = document.get("about")
    return document | {"about": {"source": about.get("source", []) if isinstance(about, dict) else []}}


def _base_location(base: str, seen: tuple[str, ...]) -> Location:
    text = _base_path(base, seen)
    if text in seen or len(seen) >= MAX_BASES:
        raise InputError(
            msg("{value} leads back to itself", value=shown(text)),
            where="base",
            allowed=msg("bases that come to an end"),
        )
    try:
        return locate(text)
    except InputError as error:
        problem = joined(": ", (text, error.problem)) if error.file else error.problem
        raise InputError(problem, where="base", allowed=error.allowed, advice=error.advice) from None


def _base_path(base: str, seen: tuple[str, ...]) -> str:
    """Return a base as a path relative to the file that names it if that exists, else unchanged."""
    folder = os.path.dirname(os.path.expanduser(seen[-1])) if seen else ""
    path = os.path.join(os.curdir, os.path.normpath(os.path.join(folder, os.path.expanduser(base))))
    return path if has_path_form(base) and "\0" not in path and os.path.exists(path) else base


def _in_keys_of_config(error: InputError, source: str | os.PathLike[str] | Document) -> InputError:
    """Return an error about a field of a config's spec with the config's own names; any other error as it is."""
    if not str(error.where).startswith(("encoder", "decoder")):
        return error
    config = source if isinstance(source, dict) else stated_config(str(source))
    if config is None or "model_type" not in config:
        return error
    from archcalc.hf.field_keys import in_keys

    return in_keys(error, config)


def _base_error(source: str | os.PathLike[str] | Document, seen: tuple[str, ...] = ()) -> InputError | None:
    """Return the error of a source's base by itself, or None if the base is valid.

    Called only after an error, since checking the base by itself on every load would be slow.
    """
    base = _base_of(source)
    if base is None or base in seen:
        return None
    try:
        decode(document_of(base))
    except InputError as error:
        return (_base_error(base, (*seen, base)) or error).within(base)
    return None


def _base_of(source: str | os.PathLike[str] | Document) -> str | None:
    """Return the base that a source names, or None if one of them cannot be read."""
    try:
        data = source if isinstance(source, dict) else parse(_read(locate(str(source))))
        if not isinstance(data, dict) or not isinstance(data.get("base"), str):
            return None
        base = _base_path(data["base"], () if isinstance(source, dict) else (str(source),))
        _read(locate(base))
    except InputError:
        return None
    return base


def _read(location: Location) -> bytes:
    """Return the bytes of the file with the architecture."""
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
