"""Headers of safetensors files: the length of a JSON text in eight bytes, the JSON, then the tensors' bytes.

Source: https://github.com/huggingface/safetensors#format. Everything is checked against the size of the file.
"""

from __future__ import annotations

import json
from math import prod
from pathlib import Path
from typing import Any

from archcalc.errors import InputError, shown
from archcalc.formats.element_types import ELEMENT_TYPES
from archcalc.formats.file_tensor import FileTensor
from archcalc.words import msg

MAX_HEADER_BYTES = 100_000_000
# Bytes of one element. Plain tensors do not have types below one byte (F4, F6).
BYTES = {one.safetensors: one.bits // 8 for one in ELEMENT_TYPES.values() if one.safetensors}


def read_header(path: Path) -> dict[str, FileTensor]:
    """Return the tensors of a file by name. Raises InputError that names the file, and the tensor if one is invalid."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > min(size - 8, MAX_HEADER_BYTES):
                raise InputError(
                    msg("its header states {length} bytes, but the file has {size}", length=length, size=size),
                    allowed=msg(
                        "a whole safetensors file, its header at most {max_header_bytes} bytes",
                        max_header_bytes=MAX_HEADER_BYTES,
                    ),
                )
            text = file.read(length)
        return _tensors(_parse_header(text), path, 8 + length, size)
    except OSError as error:
        raise InputError(msg("cannot be read ({strerror})", strerror=error.strerror), file=str(path)) from None
    except InputError as error:
        raise error.within(str(path)) from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        raise InputError(msg("its header repeats a name"), allowed=msg("each name once"))
    return mapping


def _parse_header(text: bytes) -> dict[str, Any]:
    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        raise InputError(msg("its header is not JSON"), allowed=msg("a safetensors file")) from None
    if not isinstance(header, dict):
        raise InputError(msg("its header is {header}", header=shown(header)), allowed=msg("a mapping of tensors"))
    return {name: entry for name, entry in header.items() if name != "__metadata__"}


def _tensors(header: dict[str, Any], path: Path, start: int, size: int) -> dict[str, FileTensor]:
    tensors = {name: _tensor(name, entry, path, start, size) for name, entry in header.items()}
    end = start
    for tensor in sorted(tensors.values(), key=lambda one: (one.start, one.n_bytes)):
        if tensor.start != end:
            what = "overlaps another" if tensor.start < end else f"leaves {tensor.start - end} bytes before it unused"
            raise InputError(
                msg("{what}, at offset {start}", what=what, start=tensor.start - start), where=shown(tensor.name)
            )
        end += tensor.n_bytes
    if end != size:
        raise InputError(
            msg("its tensors end at byte {end}, but the file ends at {size}", end=end, size=size),
            allowed=msg("a file with only these tensors"),
        )
    return tensors


def _tensor(name: str, entry: Any, path: Path, start: int, size: int) -> FileTensor:
    where = shown(name, 200)
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise InputError(
            msg("is {entry}", entry=shown(entry)), where=where, allowed=msg("dtype, shape and data_offsets")
        )
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BYTES:
        raise InputError(msg("unknown dtype {dtype}", dtype=shown(dtype)), where=where, allowed=", ".join(BYTES))
    if not _is_size_list(shape) or len(shape) > 16:
        raise InputError(msg("its shape is not a list of sizes"), where=where, allowed=msg("a list of integers ≥ 0"))
    if not _is_size_list(offsets) or len(offsets) != 2:
        raise InputError(msg("its offsets are not a pair"), where=where, allowed=msg("two integers ≥ 0"))
    first, last = offsets
    if not first <= last <= size - start:
        raise InputError(
            msg(
                "is at bytes {first} to {last}, but the file has {size}: it is truncated or broken",
                first=shown(first),
                last=shown(last),
                size=size - start,
            ),
            where=where,
        )
    if last - first != prod(shape) * BYTES[dtype]:
        needs = prod(shape) * BYTES[dtype]
        raise InputError(
            msg("has {n_bytes} bytes, but its shape needs {needs}", n_bytes=last - first, needs=shown(needs)),
            where=where,
        )
    return FileTensor(name, path, dtype, tuple(shape), start + first, last - first)


def _is_size_list(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int and 0 <= item < 2**63 for item in value)
