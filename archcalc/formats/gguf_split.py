"""GGUF files that are split: `model-00001-of-00003.gguf` and the others beside it, as one header.

Source: llama.cpp tools/gguf-split. The first file has the metadata; each file has `split.no` and `split.count`.
"""

from __future__ import annotations

import re
from pathlib import Path

from archcalc.errors import InputError, shown
from archcalc.formats.file_tensor import FileTensor
from archcalc.formats.gguf_file import Header, read_header
from archcalc.words import msg

_NAME = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.gguf", re.DOTALL)


def read_whole_header(path: Path) -> Header:
    """Return the header of a file, or of the whole set that it is a part of.

    Raises InputError that names the file that is missing or contradicts the others, and as `read_header` does.
    """
    header = read_header(path)
    count = header.metadata.get("split.count", 0)
    if count in (0, 1):
        return header
    found = _NAME.fullmatch(path.name)
    if found is None or int(found[3]) != count:
        raise InputError(
            msg("is one of {n} parts", n=shown(count)),
            where="split.count",
            allowed=msg("a file that is called …-{part:05}-of-{n:05}.gguf", part=1, n=count),
            file=str(path),
        )
    parts = [path.with_name(f"{found[1]}-{part:05}-of-{found[3]}.gguf") for part in range(1, count + 1)]
    return _joined([_part(part, place, count) for place, part in enumerate(parts)], parts)


def _part(path: Path, place: int, count: int) -> Header:
    """Return the header of one file of a set, at its place."""
    if not path.is_file():
        raise InputError(msg("is missing: {n} parts make the whole model", n=count), file=str(path))
    header = read_header(path)
    for key, wanted in (("split.no", place), ("split.count", count)):
        if header.metadata.get(key) != wanted:
            found = msg("found {found}", found=shown(header.metadata.get(key)))
            raise InputError(found, where=key, allowed=str(wanted), file=str(path))
    return header


def _joined(headers: list[Header], paths: list[Path]) -> Header:
    tensors: dict[str, FileTensor] = {}
    for header, path in zip(headers, paths, strict=True):
        if twice := tensors.keys() & header.tensors.keys():
            raise InputError(msg("is in another part too"), where=shown(next(iter(sorted(twice))), 200), file=str(path))
        tensors |= header.tensors
    metadata = headers[0].metadata
    wanted = metadata.get("split.tensors.count", len(tensors))
    if wanted != len(tensors):
        raise InputError(
            msg("found {found}", found=shown(wanted)),
            where="split.tensors.count",
            allowed=str(len(tensors)),
            file=str(paths[0]),
        )
    metadata = {key: value for key, value in metadata.items() if key != "split.count"}
    return Header(metadata, tensors, headers[0].float_lists)
