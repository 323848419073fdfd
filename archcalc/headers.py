"""The headers of a source's weight files: a safetensors file, a folder, a GGUF file or split set, a hub repository."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

import msgspec

from archcalc.errors import InputError
from archcalc.formats import gguf_split, safetensors_file, safetensors_folder
from archcalc.formats.element_types import ELEMENT_TYPES
from archcalc.formats.file_tensor import FileTensor
from archcalc.locations import CONFIG_FILE, Folder, Gguf, Location, Pickle, Preset, Repo, Safetensors, locate
from archcalc.spec.storage import FloatName
from archcalc.words import msg


class FileHeaders(msgspec.Struct, frozen=True):
    """The tensors in files by name; GGUF files have names and types of their own."""

    source: str
    tensors: Mapping[str, FileTensor]
    is_gguf: bool = False


def read_headers(source: str | Location) -> FileHeaders:
    """Return the tensors of a source's weight files, without reading a weight.

    Raises InputError for a source without weight files, and for broken ones.
    """
    match locate(source) if isinstance(source, str) else source:
        case Safetensors(text=text, path=path):
            return FileHeaders(text, safetensors_file.read_header(Path(path)))
        case Folder(text=text, path=path) | Preset(text=text, weights=Folder(path=path)):
            return FileHeaders(text, safetensors_folder.read_headers(Path(path)))
        case Gguf(text=text, path=path):
            from archcalc.hf.gguf import read_header

            return FileHeaders(text, read_header(Path(path)).tensors, is_gguf=True)
        case Repo(text=repo_id):
            from archcalc.hf.hub import tensors_of

            return FileHeaders(repo_id, tensors_of(repo_id))
        case Pickle() as pickle:
            raise pickle.refusal
        case other:
            raise InputError(
                msg("has no weights"),
                file=other.text,
                allowed=msg("a safetensors or GGUF file, a folder with some, a Hugging Face repo id"),
            )


class StoredDtype(msgspec.Struct, frozen=True):
    """The dtype of most bytes of a folder's weights, and the name of the file that states it."""

    dtype: FloatName
    file: str


def stored_dtype(folder: Folder) -> StoredDtype | None:
    """Return the dtype of the weights beside a config; None without any, or if they are broken or no floats."""
    try:
        headers = weight_headers(folder)
    except InputError:
        return None
    n_bytes: Counter[str] = Counter()
    for tensor in headers.tensors.values() if headers else ():
        n_bytes[tensor.dtype] += tensor.n_bytes
    names = {ELEMENT_TYPES[name].safetensors: name for name in get_args(FloatName)}
    dtype: FloatName | None = names.get(max(n_bytes, key=n_bytes.__getitem__, default=""))
    single = (Path(folder.path) / safetensors_folder.SINGLE).is_file()
    file = safetensors_folder.SINGLE if single else safetensors_folder.INDEX
    return None if dtype is None else StoredDtype(dtype, file)


def has_no_architecture(location: Location) -> bool:
    """Return whether a source has weights alone: a safetensors file, or a folder of them without a config."""
    if isinstance(location, Folder):
        names = (safetensors_folder.SINGLE, safetensors_folder.INDEX)
        return not Path(location.file).is_file() and any((Path(location.path) / name).is_file() for name in names)
    return isinstance(location, Safetensors)


def unread_architecture(location: Location) -> str:
    """Return the architecture that a GGUF file names if archcalc does not read it, else ''."""
    if not isinstance(location, Gguf):
        return ""
    from archcalc.hf.gguf import unread_architecture as unread

    return unread(gguf_split.read_whole_header(Path(location.path)))


def weight_headers(location: Location) -> FileHeaders | None:
    """Return the headers of weights beside a config, or in a GGUF file, on this machine; None for any other source."""
    if isinstance(location, Gguf):
        return read_headers(location)
    if not isinstance(location, Folder) or not (Path(location.path) / CONFIG_FILE).is_file():
        return None
    if Path(location.file).name != CONFIG_FILE:  # our own layout, whose tensors have our names
        return None
    names = (safetensors_folder.SINGLE, safetensors_folder.INDEX)
    return read_headers(location) if any((Path(location.path) / name).is_file() for name in names) else None
