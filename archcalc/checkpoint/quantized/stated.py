"""What parts of a quantized weight state about it: small tensors that are read before any weight."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from archcalc.checkpoint.memory_map import FileMaps
from archcalc.checkpoint.quantized.matrix import raw_tensor
from archcalc.errors import InputError, shown
from archcalc.formats.file_tensor import FileTensor
from archcalc.words import Message, msg

MAX_BYTES = 10_000
MAX_SIZE = 2**32

Parts = Mapping[str, FileTensor]
Facts = Callable[[FileMaps, Parts], Mapping[str, Any]]


def nothing(maps: FileMaps, parts: Parts) -> Mapping[str, Any]:
    """Return no facts."""
    return {}


def stated_shape(maps: FileMaps, parts: Parts) -> Mapping[str, Any]:
    """Return the shape that the part `shape` has as its elements."""
    part = parts["shape"]
    is_list = len(part.shape) == 1 and 2 <= part.shape[0] <= 3
    return {"shape": checked_shape(part, raw_tensor(maps, part).tolist() if is_list else part.shape)}


def json_of(maps: FileMaps, part: FileTensor) -> Mapping[str, Any]:
    """Return the mapping that a part of bytes has as JSON. Raise InputError if it has none."""
    data = bytes(maps.map(part)[part.start : part.start + min(part.n_bytes, MAX_BYTES + 1)])
    try:
        found = json.loads(data) if len(data) <= MAX_BYTES else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise fault(part, msg("is no JSON of the quantization's state"), msg("a mapping"))
    return found


def checked_shape(part: FileTensor, found: Any) -> tuple[int, ...]:
    """Return the shape that a part states. Raise InputError unless it is that of a matrix, or a stack of them."""
    is_shape = isinstance(found, list) and 2 <= len(found) <= 3 and all(map(is_size, found))
    if not is_shape:
        raise fault(part, msg("states the shape {shape}", shape=_text(found)), msg("the sizes of a matrix"))
    return tuple(found)


def is_size(value: Any) -> bool:
    """Return whether a value is a size."""
    return type(value) is int and 1 <= value < MAX_SIZE


def fault(part: FileTensor, problem: Message, allowed: str | Message) -> InputError:
    """Return the error for what a part states."""
    return InputError(problem, where=shown(part.name, 200), allowed=allowed, file=str(part.file))


def _text(found: Any) -> str:
    return str(found)[:60]
