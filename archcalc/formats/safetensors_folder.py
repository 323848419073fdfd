"""The headers of the safetensors files of a folder: one file, or the shards that an index names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from archcalc.errors import InputError, shown
from archcalc.formats.file_tensor import FileTensor
from archcalc.formats.safetensors_file import read_header
from archcalc.formats.suffixes import PICKLES
from archcalc.words import msg

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
MAX_INDEX_BYTES = 100_000_000


def read_headers(folder: Path) -> dict[str, FileTensor]:
    """Return the tensors of a folder's safetensors files by name: of one file, or of all in its index."""
    if (folder / SINGLE).is_file():
        return read_header(folder / SINGLE)
    if (folder / INDEX).is_file():
        return _sharded(folder, folder / INDEX)
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES)
    if pickles:
        raise InputError(
            msg("has {pickles} and no safetensors: a pickle can run code when it is read", pickles=shown(pickles[0])),
            allowed=msg("model.safetensors, into which it can be converted"),
            file=str(folder),
        )
    raise InputError(
        msg("has no weights"),
        allowed=msg("{single}, or {index} and its shards", single=SINGLE, index=INDEX),
        file=str(folder),
    )


def _sharded(folder: Path, index: Path) -> dict[str, FileTensor]:
    shards = _read_index(index)
    headers: dict[str, Mapping[str, FileTensor]] = {}
    for name in sorted(set(shards.values())):
        if name != Path(name).name or "\\" in name or "\0" in name or not name.endswith(".safetensors"):
            raise InputError(
                msg("names the shard {name}", name=shown(name)),
                allowed=msg("a .safetensors file beside it"),
                file=str(index),
            )
        if not (folder / name).is_file():
            raise InputError(msg("names the shard {name}, which is not there", name=shown(name)), file=str(index))
        headers[name] = read_header(folder / name)
    for tensor, name in shards.items():
        if tensor not in headers[name]:
            where = shown(tensor, 200)
            raise InputError(
                msg("is not in {name}, where the index has it", name=shown(name)), where=where, file=str(index)
            )
    for name, header in headers.items():
        for tensor in header:
            if shards.get(tensor) != name:
                where = shown(tensor, 200)
                raise InputError(
                    msg("is in the shard, but not there in the index"), where=where, file=str(folder / name)
                )
    return {tensor: headers[name][tensor] for tensor, name in shards.items()}


def _read_index(index: Path) -> dict[str, str]:
    """Return the index as tensor → shard. Raise InputError if it is not one."""
    try:
        with open(index, "rb") as file:
            text = file.read(MAX_INDEX_BYTES + 1)
        data = json.loads(text) if len(text) <= MAX_INDEX_BYTES else None
    except OSError as error:
        raise InputError(msg("cannot be read ({strerror})", strerror=error.strerror), file=str(index)) from None
    except (ValueError, RecursionError):
        data = None
    shards = data.get("weight_map") if isinstance(data, dict) else None
    if not isinstance(shards, dict) or not shards or not all(isinstance(name, str) for name in shards.values()):
        raise InputError(msg("is no index"), allowed=msg("a JSON with weight_map: tensor → shard"), file=str(index))
    return shards
